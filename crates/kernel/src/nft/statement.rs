// SPDX-License-Identifier: Apache-2.0
//! The statements of a rule, and how they become the kernel's expressions.

use super::object::{Element, Family};
use super::select::{IIFTYPE, Key, L4PROTO, Layer, META_PROTOCOL, NFPROTO, Selector};
use super::value::{Value, Verdict};
use crate::netlink::Message;

/// `NFT_REG32_00`: the first of sixteen registers of four bytes.
const FIRST: u32 = 8;
const LIST_ITEM: u16 = 1;

/// A part of a rule; made by the functions of this module and by those of [`super::select`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "made by functions, which have the words")]
pub enum Statement {
    Compare { selector: Selector, mask: Option<Value>, equal: bool, value: Value },
    Lookup { key: Key, set: String, inverted: bool },
    OneOf { key: Key, elements: Vec<Element>, inverted: bool },
    Verdicts { key: Key, elements: Vec<Element> },
    VerdictIn { key: Key, map: String },
    Dnat { key: Key, family: Family, map: String },
    Priority { key: Key, map: String },
    Verdict(Verdict),
    Counter,
    Quota { bytes: u64, over: bool },
    Limit { rate: u64, seconds: u64, burst: u32, bytes: bool, over: bool },
    Reject { kind: u32, code: u8 },
    Masquerade,
    Notrack,
}

/// `accept`
#[must_use]
pub fn accept() -> Statement {
    Statement::Verdict(Verdict::Accept)
}

/// `drop`
#[must_use]
pub fn drop() -> Statement {
    Statement::Verdict(Verdict::Drop)
}

/// `return`
#[must_use]
pub fn back() -> Statement {
    Statement::Verdict(Verdict::Return)
}

/// `jump CHAIN`
#[must_use]
pub fn jump(chain: &str) -> Statement {
    Statement::Verdict(Verdict::Jump(chain.to_owned()))
}

/// `goto CHAIN`
#[must_use]
pub fn goto(chain: &str) -> Statement {
    Statement::Verdict(Verdict::Goto(chain.to_owned()))
}

/// `counter`
#[must_use]
pub fn counter() -> Statement {
    Statement::Counter
}

/// `quota BYTES bytes`: matches until so many have passed; `over`: from then on.
#[must_use]
pub fn quota(bytes: u64, over: bool) -> Statement {
    Statement::Quota { bytes, over }
}

/// `limit rate N/SECONDS burst BURST packets`; `over` matches what is beyond it.
#[must_use]
pub fn limit_packets(rate: u64, seconds: u64, burst: u32, over: bool) -> Statement {
    Statement::Limit { rate, seconds, burst, bytes: false, over }
}

/// `limit rate N bytes/SECONDS burst BURST bytes`; `over` matches what is beyond it.
#[must_use]
pub fn limit_bytes(rate: u64, seconds: u64, burst: u32, over: bool) -> Statement {
    Statement::Limit { rate, seconds, burst, bytes: true, over }
}

/// `reject with icmpx admin-prohibited`
#[must_use]
pub fn reject() -> Statement {
    Statement::Reject { kind: 2, code: 3 }
}

/// `reject with tcp reset`
#[must_use]
pub fn reject_reset() -> Statement {
    Statement::Reject { kind: 1, code: 0 }
}

/// `masquerade`
#[must_use]
pub fn masquerade() -> Statement {
    Statement::Masquerade
}

/// `notrack`
#[must_use]
pub fn notrack() -> Statement {
    Statement::Notrack
}

/// Adds one expression to a list of them.
pub(super) fn expression(list: &mut Message, name: &str, fill: impl FnOnce(&mut Message)) {
    const NAME: u16 = 1;
    const DATA: u16 = 2;
    list.nest(LIST_ITEM, |item| {
        item.text(NAME, name).nest(DATA, fill);
    });
}

/// Writes the expressions of one rule, with what each layer depends on before its first use.
pub(super) struct Writer<'a> {
    pub(super) family: Family,
    pub(super) list: &'a mut Message,
    /// Names and numbers of the anonymous sets, in the order of the statements that have one.
    pub(super) anonymous: &'a mut dyn Iterator<Item = u32>,
    pub(super) known: Vec<Layer>,
}

impl Writer<'_> {
    pub(super) fn write(&mut self, statement: &Statement) {
        match statement {
            Statement::Compare { selector, mask, equal, value } => {
                self.compare(*selector, mask.as_ref(), *equal, value);
            }
            Statement::Lookup { key, set, inverted } => {
                self.load(key);
                self.lookup(set, None, None, *inverted);
            }
            Statement::OneOf { key, inverted, .. } => {
                self.load(key);
                let id = self.anonymous.next();
                self.lookup("__set%d", id, None, *inverted);
            }
            Statement::Verdicts { key, .. } => {
                self.load(key);
                let id = self.anonymous.next();
                self.lookup("__map%d", id, Some(0), false);
            }
            Statement::VerdictIn { key, map } => {
                self.load(key);
                self.lookup(map, None, Some(0), false);
            }
            Statement::Dnat { key, family, map } => self.dnat(key, *family, map),
            Statement::Priority { key, map } => self.priority(key, map),
            Statement::Verdict(verdict) => self.verdict(verdict),
            Statement::Counter => self.plain("counter", &[]),
            Statement::Quota { bytes, over } => self.quota(*bytes, *over),
            Statement::Limit { .. } => self.limit(statement),
            Statement::Reject { kind, code } => self.reject(*kind, *code),
            Statement::Masquerade => self.plain("masq", &[]),
            Statement::Notrack => self.plain("notrack", &[]),
        }
    }

    fn plain(&mut self, name: &str, fields: &[(u16, u32)]) {
        expression(self.list, name, |list| {
            for (kind, value) in fields {
                list.be32(*kind, *value);
            }
        });
    }

    /// As nft(8) does: `ip saddr` in a table of several protocols asks first whether it is IPv4.
    fn depend(&mut self, layer: Layer) {
        if self.known.contains(&layer) {
            return;
        }
        self.known.push(layer);
        match layer {
            Layer::Any => {}
            // In a bridge all is Ethernet.
            Layer::Ether if self.family != Family::Bridge => {
                self.compare(IIFTYPE, None, true, &Value::Native(1));
            }
            Layer::Ether => {}
            Layer::Packet(kind) => self.depend_on_packet(kind),
            Layer::Carries(protocol) => self.compare(L4PROTO, None, true, &protocol.into()),
            Layer::Icmp6 => {
                self.depend(Layer::Packet(super::select::ETHERTYPE_IP6));
                self.compare(L4PROTO, None, true, &58_u8.into());
            }
        }
    }

    fn depend_on_packet(&mut self, kind: u16) {
        match self.family {
            Family::Inet => {
                let family = if kind == super::select::ETHERTYPE_IP { Family::Ip } else { Family::Ip6 };
                self.compare(NFPROTO, None, true, &family.number().into());
            }
            Family::Bridge | Family::Netdev => self.compare(META_PROTOCOL, None, true, &kind.into()),
            Family::Ip | Family::Ip6 | Family::Arp => {}
        }
    }

    /// Loads the parts of a key one after the other.
    fn load(&mut self, key: &Key) {
        for selector in &key.0 {
            self.depend(selector.layer);
        }
        let mut register = FIRST;
        for selector in &key.0 {
            selector.load(register, self.list);
            register += selector.kind.len().div_ceil(4);
        }
    }

    fn compare(&mut self, selector: Selector, mask: Option<&Value>, equal: bool, value: &Value) {
        self.depend(selector.layer);
        selector.load(FIRST, self.list);
        if let Some(mask) = mask {
            self.mask(mask);
        }
        expression(self.list, "cmp", |list| {
            list.be32(1, FIRST).be32(2, u32::from(!equal)).nest(3, |data| {
                data.put(1, &value.bytes());
            });
        });
    }

    fn mask(&mut self, mask: &Value) {
        let bytes = mask.bytes();
        expression(self.list, "bitwise", |list| {
            list.be32(1, FIRST).be32(2, FIRST).be32(3, u32::try_from(bytes.len()).unwrap_or(0));
            list.nest(4, |data| {
                data.put(1, &bytes);
            });
            list.nest(5, |data| {
                data.put(1, &vec![0; bytes.len()]);
            });
        });
    }

    fn lookup(&mut self, set: &str, id: Option<u32>, to: Option<u32>, inverted: bool) {
        expression(self.list, "lookup", |list| {
            list.text(1, set).be32(2, FIRST);
            if let Some(to) = to {
                list.be32(3, to);
            }
            if let Some(id) = id {
                list.be32(4, id);
            }
            if inverted {
                list.be32(5, 1);
            }
        });
    }

    fn dnat(&mut self, key: &Key, family: Family, map: &str) {
        const DNAT: u32 = 1;
        self.depend_on_nat(family);
        self.load(key);
        self.lookup(map, None, Some(FIRST), false);
        let port = FIRST + if family == Family::Ip6 { 4 } else { 1 };
        self.plain("nat", &[(1, DNAT), (2, family.number().into()), (3, FIRST), (5, port)]);
    }

    fn priority(&mut self, key: &Key, map: &str) {
        const PRIORITY: u32 = 2;
        self.load(key);
        self.lookup(map, None, Some(FIRST), false);
        self.plain("meta", &[(2, PRIORITY), (3, FIRST)]);
    }

    /// A packet of another family would look its first bytes up.
    fn depend_on_nat(&mut self, family: Family) {
        let kind = if family == Family::Ip6 { super::select::ETHERTYPE_IP6 } else { super::select::ETHERTYPE_IP };
        self.depend(Layer::Packet(kind));
    }

    fn verdict(&mut self, verdict: &Verdict) {
        expression(self.list, "immediate", |list| {
            list.be32(1, 0).nest(2, |data| verdict.write(data));
        });
    }

    fn quota(&mut self, bytes: u64, over: bool) {
        expression(self.list, "quota", |list| {
            list.be64(1, bytes).be32(2, over.into());
        });
    }

    fn limit(&mut self, statement: &Statement) {
        let Statement::Limit { rate, seconds, burst, bytes, over } = statement else { return };
        expression(self.list, "limit", |list| {
            list.be64(1, *rate).be64(2, *seconds).be32(3, *burst).be32(4, (*bytes).into()).be32(5, (*over).into());
        });
    }

    fn reject(&mut self, kind: u32, code: u8) {
        expression(self.list, "reject", |list| {
            list.be32(1, kind).u8(2, code);
        });
    }
}
