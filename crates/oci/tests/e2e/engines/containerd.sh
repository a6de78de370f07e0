# SPDX-License-Identifier: Apache-2.0
# containerd.sh RUNTIME: prints what a user of containerd's ctr sees with RUNTIME as its runc binary.
set -u
. "$(dirname "$0")/rootfs.sh"
here=$(pwd)
cat >config.toml <<C
version = 2
root = "$here/croot"
state = "$here/cstate"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "$here/c.sock"
C
containerd -c config.toml >log 2>&1 &
daemon=$!
c() { ctr -a "$here/c.sock" "$@"; }
trap 'c task kill -s KILL c2 >/dev/null 2>&1; c c rm c2 >/dev/null 2>&1; kill $daemon; wait $daemon 2>/dev/null' EXIT
for i in $(seq 50); do c version >/dev/null 2>&1 && break; sleep 0.2; done
O="--runc-binary $1 --env PATH=/bin --rootfs $here/root"
echo "== run"; c run --rm $O c1 sh -c 'id -u; echo hello; exit 3' 2>/dev/null; echo "rc=$?"
echo "== detached"; c run -d $O c2 sleep 1000; c task ls | awk 'NR==2{print $1,$3}'
c task exec --exec-id e1 c2 sh -c 'echo in; exit 4' 2>/dev/null; echo "rc=$?"; c task exec --exec-id e2 c2 nosuch 2>&1 | grep -o 'executable file not found'
c task pause c2; c task ls | awk 'NR==2{print $1,$3}'; c task resume c2; c task metrics c2 | grep -c memory.usage; c task ps c2 | wc -l
c task kill -s KILL c2; for i in $(seq 50); do c task ls | grep -q STOPPED && break; sleep 0.1; done; c task ls | awk 'NR==2{print $1,$3}'
c task rm c2 2>/dev/null; echo "rc=$?"; c c rm c2
echo "== terminal"; script -qec "ctr -a $here/c.sock run --rm -t $O c3 tty" /dev/null </dev/null | tr -d '\000^@'
echo "== seccomp"; c run --rm --seccomp $O c5 grep Seccomp: /proc/self/status
echo "== errors"; c run --rm $O c4 nosuch 2>&1 | grep -o 'executable file not found'; c c rm c4 >/dev/null 2>&1
