# SPDX-License-Identifier: Apache-2.0
# serve NAME PORT: answers each client, TCP and UDP, with NAME and the address that it comes from.
# ask PROTOCOL ADDRESS PORT SECONDS: prints what is answered; tries again while it is refused.
import socket, sys, threading, time

def plain(address):
    return address[0].removeprefix("::ffff:").split("%")[0]

def listen(kind, port):
    one = socket.socket(socket.AF_INET6, kind)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    one.bind(("::", port))
    return one

def udp(name, port):
    one = listen(socket.SOCK_DGRAM, port)
    while True:
        _, peer = one.recvfrom(512)
        one.sendto(f"{name} {plain(peer)}".encode(), peer)

def tcp(name, port):
    one = listen(socket.SOCK_STREAM, port)
    one.listen(16)
    while True:
        client, peer = one.accept()
        client.sendall(f"{name} {plain(peer)}".encode())
        client.close()

def once(protocol, address, port):
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    family = socket.getaddrinfo(address, port, type=kind)[0]
    with socket.socket(family[0], kind) as one:
        one.settimeout(0.4)
        one.connect(family[4])
        if protocol == "udp":
            one.send(b"?")
        return one.recv(512).decode()

def ask(protocol, address, port, seconds):
    end = time.monotonic() + seconds
    while True:
        try:
            print(once(protocol, address, port))
            return 0
        except OSError as error:
            if time.monotonic() > end:
                print(error)
                return 1
            time.sleep(0.02)

if sys.argv[1] == "serve":
    threading.Thread(target=udp, args=(sys.argv[2], int(sys.argv[3])), daemon=True).start()
    tcp(sys.argv[2], int(sys.argv[3]))
else:
    sys.exit(ask(sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5])))
