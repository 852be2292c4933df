# The plugin's root file system: Python, the locked wheels, busybox for udhcpc and its script, and the libraries that
# these load. It is put together file by file in the build stage, so nothing has to be removed afterwards.
#
# The build context may hold build/host/{pip.conf,ca-certificates.crt,apt.conf}: how this machine reaches its package
# registries. They stay in the build stage. LICENSE comes along, as a COPY that finds nothing fails.
ARG BASE_IMAGE=debian:trixie-slim
FROM ${BASE_IMAGE} AS build
WORKDIR /build
# Code without the columns of its lines is smaller; a traceback shows the line without marks below it. So is code without
# docstrings and assertions, the only one that there is: the entry point and `compileall` say so both. With -I instead of
# -P, Python would ignore this setting.
ENV PYTHONNODEBUGRANGES=1
COPY LICENSE build/host* ./

# busybox-static, because udhcpc's script is a process of its own at each renewal, and loading libraries would be most of it.
RUN export DEBIAN_FRONTEND=noninteractive; \
    if [ -e apt.conf ]; then cp apt.conf /etc/apt/apt.conf.d/99host; fi; \
    apt-get update -q && apt-get install -q -y --no-install-recommends busybox-static python3 python3-pip

# Python as /usr/bin/python3 and its library, without what a plugin has no use for: test suites, editors, installers,
# terminal and GUI modules, compression, and OpenSSL: nobody speaks TLS, and Python has hashes of its own.
RUN set -eu; version=$(python3 -c 'import sys; print("python%d.%d" % sys.version_info[:2])'); \
    mkdir -p /rootfs/usr/bin /rootfs/usr/lib64 /rootfs/usr/lib "/rootfs/usr/local/lib/$version/dist-packages" \
      /rootfs/dev /rootfs/proc /rootfs/sys /rootfs/run/docker/plugins /rootfs/tmp /rootfs/root /rootfs/etc \
      /rootfs/var/lib/net-dhcp; \
    ln -s bin /rootfs/usr/sbin; \
    for dir in bin lib lib64 sbin; do ln -s "usr/$dir" "/rootfs/$dir"; done; \
    ln -s /run /rootfs/var/run; chmod 1777 /rootfs/tmp; \
    touch /rootfs/etc/hosts /rootfs/etc/hostname /rootfs/etc/resolv.conf; \
    echo 'root:x:0:0:root:/root:/bin/sh' > /rootfs/etc/passwd; echo 'root:x:0:' > /rootfs/etc/group; \
    cp -L /usr/bin/python3 /usr/bin/busybox /rootfs/usr/bin/; \
    for applet in sh udhcpc; do ln -s busybox "/rootfs/usr/bin/$applet"; done; \
    cp -a "/usr/lib/$version" /rootfs/usr/lib/; cd "/rootfs/usr/lib/$version"; \
    find . -name __pycache__ -prune -exec rm -r {} +; \
    rm -rf test idlelib tkinter turtledemo turtle.py ensurepip lib2to3 pydoc.py pydoc_data pdb.py doctest.py \
      config-* venv curses dbm ssl.py sqlite3/dump.py EXTERNALLY-MANAGED LICENSE.txt \
      lib-dynload/readline.* lib-dynload/_curses* lib-dynload/_dbm* lib-dynload/_gdbm* lib-dynload/_tkinter* \
      lib-dynload/_hashlib* lib-dynload/_ssl* lib-dynload/_bz2* lib-dynload/_lzma* lib-dynload/*test*; \
    python3 -P -m compileall -q -o 2 -j 0 --invalidation-mode unchecked-hash -s /rootfs /rootfs/usr/lib

COPY requirements.lock ./
# What would be imported for nothing goes: pyroute2's __init__, which imports all of its modules, 8 MB in the supervisor,
# and charset_normalizer, by which requests would guess an encoding, 3 MB in the watcher.
RUN set -eu; site=$(echo /rootfs/usr/local/lib/python3*/dist-packages); \
    if [ -e pip.conf ]; then export PIP_CONFIG_FILE=/build/pip.conf; fi; \
    python3 -m pip install --quiet --no-cache-dir --no-compile --only-binary :all: --require-hashes --target "$site" \
      -r requirements.lock; \
    find "$site" -depth \( -name tests -o -name bin -o -name '*.pyi' \) -exec rm -rf {} +; \
    rm -r "$site/pyroute2/__init__.py" "$site"/charset_normalizer*; \
    python3 -P -m compileall -q -o 2 -j 0 --invalidation-mode unchecked-hash -s /rootfs "$site"; \
    find /rootfs -type f \( -name '*.so*' -o -path /rootfs/usr/bin/\* \) -exec ldd {} + \
      | sed -nE 's,^(.*=>)?[[:space:]]*(/lib[^ ]+) .*,\2,p' | sort -u | xargs cp -L --parents -t /rootfs

# The command that fits this version, which the plugin hands out (GET /cli): one file with its own libraries.
COPY requirements-cli.lock ./
RUN if [ -e pip.conf ]; then export PIP_CONFIG_FILE=/build/pip.conf; fi; \
    python3 -m pip install --quiet --no-cache-dir --no-compile --no-deps --require-hashes --target cli-libraries \
      --platform any --implementation py --abi none --only-binary :all: -r requirements-cli.lock
COPY cli cli
RUN mkdir -p /rootfs/usr/share/net-dhcp && python3 -m cli.onefile cli-libraries /rootfs/usr/share/net-dhcp/docker-dhcp

COPY api api
COPY supervisor supervisor
COPY workers workers
RUN set -eu; site=$(echo /rootfs/usr/local/lib/python3*/dist-packages); \
    cp -a api supervisor workers "$site"; \
    python3 -P -m compileall -q -o 2 --invalidation-mode unchecked-hash -s /rootfs \
      "$site/api" "$site/supervisor" "$site/workers"

FROM scratch
COPY --from=build /rootfs /
ENTRYPOINT ["/usr/bin/python3", "-I", "-OO", "-m", "supervisor.init"]
