# SPDX-License-Identifier: Apache-2.0
# Frames for the tests of the packet filter: each carries its name, by which it is found again where it arrives.
import socket
import struct
import sys
import time

A, B, GROUP = bytes.fromhex('020000000001'), bytes.fromhex('020000000002'), bytes.fromhex('0180c200000e')
WRONG = bytes.fromhex('020000000099')
ALL = b'\xff' * 6


def v6(text):
    return socket.inet_pton(socket.AF_INET6, text)


def total(data):
    data += b'\0' * (len(data) % 2)
    value = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    while value >> 16:
        value = (value & 0xffff) + (value >> 16)
    return ~value & 0xffff


def mark(name):
    return b'MARK:' + name.encode() + b';'


def eth(kind, payload, source=A, to=B):
    return to + source + struct.pack('!H', kind) + payload


def udp(source, to, payload):
    return struct.pack('!HHHH', source, to, 8 + len(payload), 0) + payload


def ip4(source, to, payload, protocol=17, offset=0):
    head = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20 + len(payload), 1, offset, 64, protocol, 0,
                       socket.inet_aton(source), socket.inet_aton(to))
    return head[:10] + struct.pack('!H', total(head)) + head[12:] + payload


def ip6(source, to, payload, following=17):
    return struct.pack('!IHBB', 6 << 28, len(payload), following, 255) + v6(source) + v6(to) + payload


def udp6(source, to, ports, payload):
    data = udp(*ports, payload)
    pseudo = v6(source) + v6(to) + struct.pack('!II', len(data), 17)
    return ip6(source, to, data[:6] + struct.pack('!H', total(pseudo + data) or 0xffff) + data[8:])


def icmp6(source, to, kind, body, before=None):
    data = struct.pack('!BBH', kind, 0, 0) + body
    pseudo = v6(source) + v6(to) + struct.pack('!II', len(data), 58)
    data = data[:2] + struct.pack('!H', total(pseudo + data)) + data[4:]
    if before is None:
        return ip6(source, to, data, 58)
    # An extension header of eight bytes: its options are padding.
    return ip6(source, to, struct.pack('!BB', 58, 0) + b'\x01\x04\0\0\0\0' + data, before)


def arp(operation, mac, ip, target='10.1.0.3'):
    return struct.pack('!HHBBH', 1, 0x800, 6, 4, operation) + mac + socket.inet_aton(ip) + b'\0' * 6 + socket.inet_aton(target)


SELF, OTHER, LOCAL = 'fd00:1::2', 'fd00:1::3', 'fe80::ff:fe00:1'


def solicit(source, target, *options):
    return icmp6(source, 'ff02::1:ff00:3', 135, b'\0' * 4 + v6(target) + b''.join(options))


def advertise(source, target, *options, **more):
    return icmp6(source, 'ff02::1', 136, struct.pack('!I', 0x20000000) + v6(target) + b''.join(options), **more)


def option(kind, value):
    return bytes([kind, 1]) + value


ADVERT = struct.pack('!BBHII', 64, 0, 1800, 0, 0)

GOOD = {
    'v4': lambda m: eth(0x800, ip4('10.1.0.2', '10.1.0.3', udp(9, 9, m))),
    'v4-fragment': lambda m: eth(0x800, ip4('10.1.0.2', '10.1.0.3', m, 17, 100)),
    'arp-request': lambda m: eth(0x806, arp(1, A, '10.1.0.2') + m, to=ALL),
    'arp-reply': lambda m: eth(0x806, arp(2, A, '10.1.0.2') + m),
    'arp-probe': lambda m: eth(0x806, arp(1, A, '0.0.0.0', '10.1.0.2') + m, to=ALL),
    'dhcp-discover': lambda m: eth(0x800, ip4('0.0.0.0', '255.255.255.255', udp(68, 67, m)), to=ALL),
    'dhcp6-solicit': lambda m: eth(0x86dd, udp6(LOCAL, 'ff02::1:2', (546, 547), m)),
    'v6': lambda m: eth(0x86dd, udp6(SELF, OTHER, (9, 9), m)),
    'v6-local': lambda m: eth(0x86dd, udp6(LOCAL, OTHER, (9, 9), m)),
    'v6-fragment': lambda m: eth(0x86dd, ip6(SELF, OTHER, struct.pack('!BBHI', 17, 0, 801, 7) + m, 44)),
    'v6-ping-fragment': lambda m: eth(0x86dd, ip6(SELF, OTHER, struct.pack('!BBHI', 58, 0, 801, 7) + m, 44)),
    'v6-ping': lambda m: eth(0x86dd, icmp6(SELF, OTHER, 128, b'\0' * 4 + m)),
    'ns': lambda m: eth(0x86dd, solicit(SELF, OTHER, option(1, A)) + m),
    'ns-bare': lambda m: eth(0x86dd, solicit(SELF, OTHER) + m),
    'ns-local': lambda m: eth(0x86dd, solicit(LOCAL, OTHER, option(1, A)) + m),
    'dad': lambda m: eth(0x86dd, solicit('::', SELF) + m),
    'dad-nonce': lambda m: eth(0x86dd, solicit('::', LOCAL, option(14, b'nonce!')) + m),
    'na': lambda m: eth(0x86dd, advertise(SELF, SELF, option(2, A)) + m),
    'na-bare': lambda m: eth(0x86dd, advertise(LOCAL, LOCAL) + m),
    'rs': lambda m: eth(0x86dd, icmp6(LOCAL, 'ff02::2', 133, b'\0' * 4 + option(1, A)) + m),
    'mld': lambda m: eth(0x86dd, icmp6('::', 'ff02::16', 143, b'\0' * 4 + m, before=0)),
}

BAD = {
    'mac': lambda m: eth(0x800, ip4('10.1.0.2', '10.1.0.3', udp(9, 9, m)), source=WRONG),
    'v4-source': lambda m: eth(0x800, ip4('10.1.0.3', '10.1.0.3', udp(9, 9, m))),
    'v4-gateway': lambda m: eth(0x800, ip4('10.1.0.1', '10.1.0.3', udp(9, 9, m))),
    'v4-nobody': lambda m: eth(0x800, ip4('0.0.0.0', '10.1.0.3', udp(9, 9, m))),
    'v4-loopback': lambda m: eth(0x800, ip4('127.0.0.1', '10.1.0.3', udp(9, 9, m))),
    'v4-fragment-source': lambda m: eth(0x800, ip4('10.1.0.3', '10.1.0.3', m, 17, 100)),
    'arp-mac': lambda m: eth(0x806, arp(2, WRONG, '10.1.0.2') + m),
    'arp-ip': lambda m: eth(0x806, arp(2, A, '10.1.0.1') + m),
    'arp-ip-request': lambda m: eth(0x806, arp(1, A, '10.1.0.1') + m, to=ALL),
    'arp-probe-answer': lambda m: eth(0x806, arp(2, A, '0.0.0.0') + m),
    'arp-operation': lambda m: eth(0x806, arp(3, A, '10.1.0.2') + m),
    'arp-hardware': lambda m: eth(0x806, b'\0\x06' + arp(2, A, '10.1.0.2')[2:] + m),
    'arp-length': lambda m: eth(0x806, arp(2, A, '10.1.0.2')[:4] + b'\x08' + arp(2, A, '10.1.0.2')[5:] + m),
    'dhcp-server': lambda m: eth(0x800, ip4('10.1.0.2', '255.255.255.255', udp(67, 68, m)), to=ALL),
    'dhcp-server-port': lambda m: eth(0x800, ip4('10.1.0.2', '10.1.0.3', udp(1067, 68, m))),
    'dhcp6-server': lambda m: eth(0x86dd, udp6(LOCAL, OTHER, (547, 546), m)),
    'igmp-query': lambda m: eth(0x800, ip4('10.1.0.2', '224.0.0.1', b'\x11\0\xee\xff\0\0\0\0' + m, 2)),
    'v6-source': lambda m: eth(0x86dd, udp6(OTHER, OTHER, (9, 9), m)),
    'v6-foreign-local': lambda m: eth(0x86dd, udp6('fe80::ff:fe00:2', OTHER, (9, 9), m)),
    'v6-fragment-source': lambda m: eth(0x86dd, ip6(OTHER, OTHER, struct.pack('!BBHI', 17, 0, 801, 7) + m, 44)),
    'v6-no-end': lambda m: eth(0x86dd, ip6(SELF, OTHER, b'\x3c\xff' + m, 60)),
    'ra-one-fragment': lambda m: eth(0x86dd, ip6(LOCAL, 'ff02::1', struct.pack('!BBHI', 58, 0, 1, 7)
                                                 + icmp6(LOCAL, 'ff02::1', 134, ADVERT)[40:], 44) + m),
    'na-one-fragment': lambda m: eth(0x86dd, ip6(SELF, OTHER, struct.pack('!BBHI', 58, 0, 0, 7)
                                                 + advertise(SELF, OTHER, option(2, A))[40:], 44) + m),
    'v6-nobody': lambda m: eth(0x86dd, udp6('::', OTHER, (9, 9), m)),
    'v6-nobody-ping': lambda m: eth(0x86dd, icmp6('::', OTHER, 128, b'\0' * 4 + m)),
    'ns-option': lambda m: eth(0x86dd, solicit(SELF, OTHER, option(1, WRONG)) + m),
    'ns-second-option': lambda m: eth(0x86dd, solicit(SELF, OTHER, option(14, b'nonce!'), option(1, WRONG)) + m),
    'ns-source': lambda m: eth(0x86dd, solicit(OTHER, 'fd00:1::9', option(1, A)) + m),
    'ns-router-source': lambda m: eth(0x86dd, solicit('fd00:1::1', OTHER, option(1, A)) + m),
    'dad-foreign': lambda m: eth(0x86dd, solicit('::', OTHER) + m),
    'na-target': lambda m: eth(0x86dd, advertise(SELF, OTHER, option(2, A)) + m),
    'na-router-target': lambda m: eth(0x86dd, advertise(SELF, 'fd00:1::1', option(2, A)) + m),
    'na-option': lambda m: eth(0x86dd, advertise(SELF, SELF, option(2, WRONG)) + m),
    'na-source': lambda m: eth(0x86dd, advertise(OTHER, SELF, option(2, A)) + m),
    'na-behind-header': lambda m: eth(0x86dd, advertise(SELF, OTHER, option(2, A), before=60) + m),
    'na-own-behind-header': lambda m: eth(0x86dd, advertise(SELF, SELF, option(2, WRONG), before=0) + m),
    'ra': lambda m: eth(0x86dd, icmp6(LOCAL, 'ff02::1', 134, ADVERT) + m),
    'ra-behind-hop': lambda m: eth(0x86dd, icmp6(LOCAL, 'ff02::1', 134, ADVERT, before=0) + m),
    'ra-behind-options': lambda m: eth(0x86dd, icmp6(LOCAL, 'ff02::1', 134, ADVERT, before=60) + m),
    'redirect': lambda m: eth(0x86dd, icmp6(LOCAL, OTHER, 137, b'\0' * 4 + v6('fd00:9::9') + v6(SELF)) + m),
    'mld-query': lambda m: eth(0x86dd, icmp6(LOCAL, 'ff02::1', 130, b'\0' * 20) + m),
    'vlan': lambda m: eth(0x8100, b'\0\x05\x08\0' + ip4('10.1.0.2', '10.1.0.3', udp(9, 9, m))),
    'vlan-0': lambda m: eth(0x8100, b'\0\0\x08\0' + ip4('10.1.0.2', '10.1.0.3', udp(9, 9, m))),
    'vlan-arp': lambda m: eth(0x8100, b'\0\0\x08\x06' + arp(2, A, '10.1.0.1') + m),
    'vlan-in-vlan': lambda m: eth(0x88a8, b'\0\x05\x81\0\0\x06\x08\0' + ip4('10.1.0.2', '10.1.0.3', udp(9, 9, m))),
    'vlan-twice': lambda m: eth(0x8100, b'\0\x05\x81\0\0\x06\x08\0' + ip4('10.1.0.2', '10.1.0.3', udp(9, 9, m))),
    'rarp': lambda m: eth(0x8035, arp(3, A, '10.1.0.2') + m),
    'lldp': lambda m: eth(0x88cc, m),
    'pppoe': lambda m: eth(0x8864, m + b'\0' * 40),
    'llc': lambda m: eth(40, b'\x42\x42\x03' + m.ljust(37, b'\0')),
    'mpls': lambda m: eth(0x8847, m + b'\0' * 40),
}


def send(device, frames):
    out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    out.bind((device, 0))
    for frame in frames:
        out.send(frame)


def hear(device, end):
    # Names of what arrives, until the one that ends it.
    heard = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    heard.bind((device, 0))
    heard.settimeout(30)
    print('ready', flush=True)
    while True:
        frame, address = heard.recvfrom(4096)
        if address[2] == 4 or b'MARK:' not in frame:
            continue
        name = frame.split(b'MARK:')[1].split(b';')[0].decode()
        print(name, flush=True)
        if name == end:
            break
