# SPDX-License-Identifier: Apache-2.0
# docker.sh RUNTIME: prints what a user of Docker and docker-compose sees with RUNTIME below them. The daemon lives in
# network and mount namespaces of its own, and makes neither bridges nor firewall rules.
set -u
. "$(dirname "$0")/rootfs.sh"
here=$(pwd)
unshare -n -m --propagation private sh -c "ip link set lo up; exec dockerd --data-root $here/data --exec-root $here/exec -p $here/pid -H unix://$here/d.sock --add-runtime cella=$1 --iptables=false --ip6tables=false --bridge=none --storage-driver vfs --exec-opt native.cgroupdriver=cgroupfs" >log 2>&1 &
daemon=$!
export DOCKER_HOST="unix://$here/d.sock"
trap 'docker rm -f d1 r1 o1 >/dev/null 2>&1; kill "$(cat "$here/pid")"; wait $daemon 2>/dev/null' EXIT
for i in $(seq 100); do docker version >/dev/null 2>&1 && break; sleep 0.2; done
docker import -c 'CMD ["sh"]' -c 'ENV PATH=/bin' root.tar bb:latest >/dev/null
O="--runtime cella --network none"
echo "== run"; docker run --rm $O bb sh -c 'id -u; echo hello; grep Seccomp: /proc/self/status; exit 3'; echo "rc=$?"
echo "== terminal"; script -qec "docker run --rm -it $O bb sh -c 'tty; stty -a 2>/dev/null </dev/tty | grep -o -- [-]*onlcr'" /dev/null </dev/null | tr -d '\000^@'
echo "== errors"; docker run --rm $O bb nosuch 2>/dev/null; echo "rc=$?"; docker run --rm $O bb /etc/passwd 2>/dev/null; echo "rc=$?"
echo "== detached"; docker run -d --name d1 $O --memory 64m --health-cmd true --health-interval 1s bb sleep 1000 >/dev/null
docker exec d1 sh -c 'echo in; exit 4'; echo "rc=$?"; script -qec "docker exec -it d1 tty" /dev/null </dev/null | tr -d '\000^@'
docker pause d1 >/dev/null; docker inspect -f '{{.State.Status}}' d1; docker unpause d1 >/dev/null
docker stats --no-stream --format '{{.PIDs}} {{.MemUsage}}' d1 | tr -s ' ' | sed 's/ .*\/ */ /'
docker update --memory 32m --memory-swap 32m d1 >/dev/null; docker stats --no-stream --format '{{.MemUsage}}' d1 | sed 's/.*\/ *//'
docker top d1 | grep -c sleep; for i in $(seq 50); do [ "$(docker inspect -f '{{.State.Health.Status}}' d1)" = healthy ] && break; sleep 0.2; done; docker inspect -f '{{.State.Health.Status}}' d1
docker kill d1 >/dev/null; docker wait d1; docker start d1 >/dev/null; docker stop -t 1 d1 >/dev/null; docker rm d1
echo "== restart"; docker run -d --name r1 $O --restart on-failure:2 bb sh -c 'exit 1' >/dev/null; for i in $(seq 60); do [ "$(docker inspect -f '{{.RestartCount}} {{.State.Status}}' r1)" = "2 exited" ] && break; sleep 0.2; done; docker inspect -f '{{.RestartCount}} {{.State.Status}}' r1
echo "== read-only"; docker run --rm $O --read-only --tmpfs /t --user 1000:1000 --cap-drop ALL bb sh -c 'touch /x 2>/dev/null || echo ro; touch /t/y && echo ok; grep CapBnd /proc/self/status | cut -f2'
echo "== init"; docker run --rm $O --init bb cat /proc/1/comm
echo "== out of memory"; docker run --name o1 $O --memory 8m bb sh -c 'tail /dev/zero'; echo "rc=$?"; docker inspect -f '{{.State.OOMKilled}}' o1
echo "== compose"; mkdir -p comp; cat >comp/docker-compose.yml <<C
version: "2.4"
services:
  a: {image: "bb:latest", runtime: cella, network_mode: none, command: ["sh", "-c", "echo a up; sleep 1000"]}
  b: {image: "bb:latest", runtime: cella, network_mode: none, command: ["sh", "-c", "echo b up; sleep 1000"], depends_on: [a]}
  c: {image: "bb:latest", runtime: cella, network_mode: none, command: ["sh", "-c", "echo c up; sleep 1000"], read_only: true}
C
cd comp && docker-compose up -d >/dev/null 2>&1; echo "rc=$?"; docker-compose ps -q | wc -l
for i in $(seq 50); do [ "$(docker-compose logs --no-color 2>/dev/null | grep -c '. up$')" = 3 ] && break; sleep 0.2; done
docker-compose logs --no-color | grep -o '. up$' | sort
docker-compose exec -T b echo hi; docker-compose down -t 1 >/dev/null 2>&1; echo "rc=$?"
