# SPDX-License-Identifier: Apache-2.0
# podman.sh RUNTIME: prints what a user of Podman sees with RUNTIME below it. Everything lives in the current directory.
set -u
. "$(dirname "$0")/rootfs.sh"
here=$(pwd)
p() { podman --root "$here/store" --runroot "$here/run" --tmpdir "$here/tmp" --cgroup-manager cgroupfs --storage-driver vfs --runtime "$RUNTIME" "$@"; }
RUNTIME=$1
# Limits that need no privilege: a root without CAP_SYS_RESOURCE may not raise Podman's own.
O="--ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --network none"
trap 'p rm -af >/dev/null 2>&1; p system reset -f >/dev/null 2>&1' EXIT
p import -q -c 'CMD ["sh"]' -c 'ENV PATH=/bin' root.tar bb >/dev/null 2>&1
echo "== run"; p run --rm $O bb sh -c 'id -u; echo hello; exit 3'; echo "rc=$?"
echo "== terminal"; script -qec "podman --root $here/store --runroot $here/run --tmpdir $here/tmp --cgroup-manager cgroupfs --storage-driver vfs --runtime $RUNTIME run --rm -t $O bb sh -c 'tty; stty -a 2>/dev/null </dev/tty | grep -o -- [-]*onlcr'" /dev/null
echo "== errors"; p run --rm $O bb nosuch 2>/dev/null; echo "rc=$?"; p run --rm $O bb /etc/passwd 2>/dev/null; echo "rc=$?"
echo "== detached"; p run -d --name d1 $O --health-cmd true --health-interval 0 bb sh -c 'trap "exit 9" TERM; while :; do sleep 0.1; done' >/dev/null 2>&1
p exec d1 sh -c 'echo in; exit 5'; echo "rc=$?"; p exec d1 nosuch 2>/dev/null; echo "rc=$?"
p exec -t d1 tty; p healthcheck run d1; echo "healthy=$?"
p pause d1 >/dev/null; p inspect -f '{{.State.Status}}' d1; p unpause d1 >/dev/null; p inspect -f '{{.State.Status}}' d1
p stats --no-stream --format '{{.Name}} {{.PIDs}}' d1
p stop -t 5 d1 >/dev/null; p inspect -f '{{.State.ExitCode}}' d1
p start d1 >/dev/null; p kill d1 >/dev/null; p wait d1; p rm -f d1 >/dev/null
echo "== limits"; p run --rm $O --read-only --memory 64m --pids-limit 100 --user 1000:1000 --cap-drop all bb sh -c 'id -u; touch /x 2>/dev/null || echo ro; grep CapBnd /proc/self/status | cut -f2'
echo "== users"; p run --rm $O --uidmap 0:100000:65536 --gidmap 0:100000:65536 bb sh -c 'id -u; tr -s " " </proc/self/uid_map; stat -c %u /bin'
echo "== volumes"; mkdir -p vol; p run --rm $O -v "$here/vol:/v:ro" -v named:/w bb sh -c 'touch /v/x 2>/dev/null || echo ro; touch /w/y && echo rw'
echo "== init"; p run --rm $O --init bb sh -c 'cat /proc/1/comm'
echo "== pod"; p run --rm $O --ipc private --uts private --hostname podded bb hostname
echo "== restart"; p run -d --name r1 $O --restart on-failure:2 bb sh -c 'exit 4' >/dev/null; for i in $(seq 50); do [ "$(p inspect -f '{{.State.Status}} {{.RestartCount}}' r1)" = "exited 2" ] && break; sleep 0.2; done; p inspect -f '{{.State.Status}} {{.RestartCount}} {{.State.ExitCode}}' r1
