# SPDX-License-Identifier: Apache-2.0
# systemd.sh RUNTIME: prints what systemd and a container see when --systemd-cgroup has a systemd make the control group. The
# systemd is a user's, in a mount namespace and groups of its own: process 1 of a test machine may be anything.
set -u
here=$(pwd)
name=cella-systemd-$$
for tree in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    [ -e "$tree/cgroup.procs" ] && mkdir "$tree/$name"
done
cat >inside.sh <<'S'
RUNTIME=$1 here=$2 name=$3
d=$here/user
mkdir -p "$d/config/systemd/user"
chmod 700 "$d"
printf '[Unit]\nDefaultDependencies=no\n' >"$d/config/systemd/user/cella.target"
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system
for tree in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    [ -d "$tree/$name" ] && echo $$ >"$tree/$name/cgroup.procs"
done
env -i PATH=/usr/bin:/bin HOME="$d" XDG_CONFIG_HOME="$d/config" XDG_RUNTIME_DIR="$d" /lib/systemd/systemd --user --unit=cella.target --log-target=console >"$d/log" 2>&1 &
manager=$!
for i in $(seq 100); do [ -S "$d/systemd/private" ] && break; sleep 0.1; done
mkdir -p root/proc root/dev root/sys
. "$4/rootfs.sh"
"$RUNTIME" spec
jq --arg root "$here/root" '.root={"path":$root}|.process.terminal=false|.linux.cgroupsPath="cella-test.slice:oci:s1"|.linux.resources.pids={"limit":55}|.process.args=["sleep","1000"]' config.json >c && mv c config.json
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=$d/systemd/private
o() { "$RUNTIME" --root "$here/state" --systemd-cgroup "$@"; }
show() { XDG_RUNTIME_DIR=$d systemctl --user show oci-s1.scope -p "$1"; }
o run -d s1 >/dev/null 2>&1; echo "rc=$?"
show ActiveState; show TasksMax; show Delegate; show ControlGroup | sed 's/.*\/cella.slice/cella.slice/'
o exec s1 sh -c 'grep ^0:: /proc/self/cgroup'
o update --pids-limit 44 s1; show TasksMax
o ps --format json s1 | jq length
o delete --force s1; for i in $(seq 50); do [ "$(show ActiveState)" = ActiveState=inactive ] && break; sleep 0.1; done; show ActiveState
jq '.process.args=["nosuch"]' config.json >c && mv c config.json
o run s1 2>/dev/null; echo "rc=$?"; for i in $(seq 50); do [ "$(show ActiveState)" = ActiveState=inactive ] && break; sleep 0.1; done; show ActiveState
kill $manager; wait $manager 2>/dev/null
S
unshare -m --propagation private sh inside.sh "$1" "$here" "$name" "$(dirname "$0")"
for i in $(seq 20); do
    find /sys/fs/cgroup -depth -type d -path "*/$name*" -exec rmdir {} \; 2>/dev/null
    [ -z "$(find /sys/fs/cgroup -maxdepth 2 -name "$name")" ] && break
    sleep 0.1
done
find /sys/fs/cgroup -maxdepth 2 -name "$name"
