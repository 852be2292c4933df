# Runs in the image of the Dockerfile's build stage, as `sh -s`; prints a tar of
#   packages.tsv       the Debian packages of which a file is in /rootfs: name, version, source, its version, architecture
#   licenses/debian/…  the copyright file of each
# The base image may lack /usr/share/doc, so the packages are downloaded once more.
set -eu
mkdir -p /tmp/notices/licenses/debian /tmp/debs
cd /tmp/debs

owners() {
  find /rootfs -type f -not -name '*.pyc' -not -path '/rootfs/usr/local/*' | sed 's,^/rootfs,,' \
    | xargs -r readlink -e | sort -u | xargs -r dpkg -S 2>/dev/null | cut -d: -f1 | sort -u
}
owners > names
[ -s names ]
xargs dpkg-query -W -f '${Package}\t${Version}\t${source:Package}\t${source:Version}\t${Architecture}\n' < names \
  | sort > /tmp/notices/packages.tsv

# A package may have its documentation in another one's directory: libgcc-s1 has it in gcc-14-base's.
copy_of() {
  apt-get download -qq -o APT::Sandbox::User=root "$1" >&2
  dpkg-deb --fsys-tarfile "$1"_*.deb | tar -x --wildcards './usr/share/doc/*' 2>/dev/null || true
  if [ -L "usr/share/doc/$1" ] && [ ! -e "usr/share/doc/$1/copyright" ]; then
    copy_of "$(basename "$(readlink "usr/share/doc/$1")")"
  fi
}
while read -r name; do
  copy_of "$name"
  cp "usr/share/doc/$name/copyright" "/tmp/notices/licenses/debian/$name"
done < names
tar -C /tmp/notices -c .
