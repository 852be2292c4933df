-- A state file of schema 1, as the plugin wrote it before leases had families.
BEGIN TRANSACTION;
CREATE TABLE endpoint (id TEXT PRIMARY KEY, phase TEXT NOT NULL, held INTEGER NOT NULL, lease TEXT,
                           record TEXT NOT NULL) STRICT;
INSERT INTO "endpoint" VALUES('e1','joined',1,'{"address": "192.0.2.10/24", "server": "192.0.2.1", "duration": 600, "obtained": 1700004321.5, "boot": "1b7e0d0c-4a0b-4f43-9c7e-0d6f5a2b8c11", "boottime": 4321.5, "routers": ["192.0.2.1"], "classless": [["198.51.100.0/24", "192.0.2.9"], ["203.0.113.0/24", null]], "static": [], "dns": ["192.0.2.1"], "domain": "lan", "mtu": 1400}','{"network_id": "n1", "endpoint_id": "e1", "bridge": "br0", "mac": "02:00:00:00:00:01", "lease_timeout": 10.0, "requested": "192.0.2.10", "hostname": "web", "skip_routes": true, "drop_expired": false, "remembered": null, "conflict": "wait", "origin": [true, false, "container:c1", true], "identity": ["c1", "web", "web-host"], "sandbox_key": "/run/docker/netns/0123456789ab", "routes": [["203.0.113.0/24", "192.0.2.3"]], "gateway": "192.0.2.1", "obtained": 1700000000.0, "renewed": 1700004321.0}');
INSERT INTO "endpoint" VALUES('e2','creating',0,NULL,'{"network_id": "n1", "endpoint_id": "e2", "bridge": "br0", "mac": "02:00:00:00:00:02", "lease_timeout": 5.0, "requested": null, "hostname": null, "skip_routes": false, "drop_expired": false, "remembered": "{\"address\": \"192.0.2.11/24\", \"server\": null, \"duration\": null, \"obtained\": 1700004000.0, \"boot\": \"1b7e0d0c-4a0b-4f43-9c7e-0d6f5a2b8c11\", \"boottime\": 4000.0, \"routers\": [], \"classless\": [], \"static\": [], \"dns\": [], \"domain\": null, \"mtu\": null}", "conflict": "detect", "origin": [false, false, null, false], "identity": null, "sandbox_key": null, "routes": [], "gateway": null, "obtained": null, "renewed": null}');
CREATE TABLE event (id INTEGER PRIMARY KEY, time REAL NOT NULL, endpoint TEXT NOT NULL, network TEXT NOT NULL,
                        container TEXT, kind TEXT NOT NULL, address TEXT, detail TEXT NOT NULL) STRICT;
INSERT INTO "event" VALUES(1,1700004321.0,'e1','n1','web','bound','192.0.2.10/24','first lease');
CREATE TABLE network (id TEXT PRIMARY KEY, options TEXT NOT NULL) STRICT;
INSERT INTO "network" VALUES('n1','{"bridge": "br0", "lease_timeout": 5.0, "ignore_conflicts": false, "skip_routes": false, "drop_expired": false, "keep_lease": false, "mac_by_name": true, "conflict": "off"}');
CREATE TABLE remembered (network TEXT NOT NULL, key TEXT NOT NULL, mac TEXT NOT NULL, address TEXT,
                             bridge TEXT NOT NULL, updated REAL NOT NULL, lease TEXT, release_at REAL,
                             PRIMARY KEY (network, key)) STRICT;
INSERT INTO "remembered" VALUES('n1','id:idle','02:00:00:00:00:03','192.0.2.12','br0',1700001000.0,NULL,NULL);
INSERT INTO "remembered" VALUES('n1','name:away','02:00:00:00:00:04','192.0.2.10','br0',1700002000.0,'{"address": "192.0.2.10/24", "server": "192.0.2.1", "duration": 600, "obtained": 1700004321.5, "boot": "1b7e0d0c-4a0b-4f43-9c7e-0d6f5a2b8c11", "boottime": 4321.5, "routers": ["192.0.2.1"], "classless": [["198.51.100.0/24", "192.0.2.9"], ["203.0.113.0/24", null]], "static": [], "dns": ["192.0.2.1"], "domain": "lan", "mtu": 1400}',5100.0);
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
INSERT INTO "setting" VALUES('data_root','/srv/docker');
CREATE INDEX event_by_time ON event (time);
COMMIT;
PRAGMA user_version = 1;
