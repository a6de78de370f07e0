// SPDX-License-Identifier: Apache-2.0
//! What the targets share: changes to JSON that leave it JSON, since bytes changed at random would hardly ever be; and a
//! network.

pub mod network;

use libfuzzer_sys::fuzzer_mutate;
use serde_json::{Map, Value, json};

/// One document in so many is changed as bytes, for the parser's sake.
const BYTES: u64 = 16;

/// Changes the document in `data`; the new length.
pub fn mutate(data: &mut [u8], size: usize, most: usize, seed: u32) -> usize {
    let mut chance = Chance(u64::from(seed) | 1 << 32);
    let document = data.get(..size).and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
    let Some(mut document) = document.filter(|_| chance.below(BYTES) != 0) else {
        return fuzzer_mutate(data, size, most);
    };
    let spare = document.clone();
    for _ in 0..=chance.below(3) {
        change(&mut document, &spare, &mut chance);
    }
    let text = serde_json::to_vec(&document).unwrap_or_default();
    match data.get_mut(..text.len()).filter(|place| place.len() <= most && !text.is_empty()) {
        Some(place) => {
            place.copy_from_slice(&text);
            text.len()
        }
        None => fuzzer_mutate(data, size, most),
    }
}

/// Changes one value of a document; `spare` is what else may be put there.
fn change(document: &mut Value, spare: &Value, chance: &mut Chance) {
    let at = chance.below(count(document));
    let from = chance.below(count(spare));
    let Some(value) = nth(document, &mut { at }) else { return };
    match chance.below(6) {
        0 => *value = interesting(chance),
        1 => *value = pick(spare, &mut { from }).cloned().unwrap_or_default(),
        _ => inside(value, chance),
    }
}

/// A change that keeps the kind of the value.
fn inside(value: &mut Value, chance: &mut Chance) {
    match value {
        Value::Null => *value = interesting(chance),
        Value::Bool(one) => *one = !*one,
        Value::Number(number) => *value = number_near(number.as_i64().unwrap_or(i64::MAX), chance),
        Value::String(text) => *text = text_near(text, chance),
        Value::Array(list) => elements(list, chance),
        Value::Object(map) => members(map, chance),
    }
}

fn number_near(number: i64, chance: &mut Chance) -> Value {
    match chance.below(6) {
        0 => json!(number.wrapping_add(1)),
        1 => json!(number.wrapping_sub(1)),
        2 => json!(number.wrapping_neg()),
        3 => json!(1_u64 << chance.below(64)),
        4 => json!((1_u64 << chance.below(64)).wrapping_sub(1)),
        _ => json!(chance.next() >> chance.below(64)),
    }
}

/// Texts that mean something to some field, or that are at the edge of what one may be.
const TEXTS: [&str; 28] = [
    "",
    "/",
    ".",
    "..",
    "/..",
    "//",
    "a/../../b",
    "\0",
    "=",
    ":",
    ",",
    "-",
    "0-3,5",
    "0-4294967295",
    "0-1023",
    "mode=7777777777777",
    "SCHED_DEADLINE",
    "4294967295",
    "-1",
    "99999999999999999999",
    "all",
    "ro",
    "rbind",
    "size=1k",
    "mode=0777",
    "é",
    "CAP_SYS_ADMIN",
    "/proc/self/ns/user",
];

fn text_near(text: &str, chance: &mut Chance) -> String {
    let piece = chance.of(&TEXTS).copied().unwrap_or_default();
    let cut = text.char_indices().nth(chance.index(text.len() + 1)).map_or(text.len(), |(at, _)| at);
    let (before, after) = text.split_at(cut);
    match chance.below(6) {
        0 => piece.to_owned(),
        1 => before.to_owned(),
        2 => after.to_owned(),
        3 => text.repeat(2 + chance.index(3)),
        _ => format!("{before}{piece}{after}"),
    }
}

fn elements(list: &mut Vec<Value>, chance: &mut Chance) {
    let (at, other) = (chance.index(list.len()), chance.index(list.len()));
    match chance.below(4) {
        0 if at < list.len() => drop(list.remove(at)),
        1 if at < list.len() => list.swap(at, other),
        2 => list.push(interesting(chance)),
        _ => list.extend(list.get(at).cloned()),
    }
}

fn members(map: &mut Map<String, Value>, chance: &mut Chance) {
    let name = |chance: &mut Chance| map.keys().nth(chance.index(map.len())).cloned().unwrap_or_default();
    let (name, other) = (name(chance), name(chance));
    match chance.below(3) {
        0 => drop(map.remove(&name)),
        1 => drop(map.insert(name, interesting(chance))),
        _ => {
            let value = map.get(&other).cloned().unwrap_or_default();
            drop(map.insert(name, value));
        }
    }
}

fn interesting(chance: &mut Chance) -> Value {
    match chance.below(7) {
        0 => Value::Null,
        1 => json!(chance.below(2) == 0),
        2 => json!([]),
        3 => json!({}),
        4 => json!(chance.of(&TEXTS)),
        _ => number_near(0, chance),
    }
}

/// How many values there are in a value, itself among them.
fn count(value: &Value) -> u64 {
    1 + match value {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum(),
        _ => 0,
    }
}

/// The value that has `left` before it.
fn nth<'a>(value: &'a mut Value, left: &mut u64) -> Option<&'a mut Value> {
    if *left == 0 {
        return Some(value);
    }
    *left -= 1;
    match value {
        Value::Array(list) => list.iter_mut().find_map(|one| nth(one, left)),
        Value::Object(map) => map.values_mut().find_map(|one| nth(one, left)),
        _ => None,
    }
}

/// The same of one that is not to be changed.
fn pick<'a>(value: &'a Value, left: &mut u64) -> Option<&'a Value> {
    if *left == 0 {
        return Some(value);
    }
    *left -= 1;
    match value {
        Value::Array(list) => list.iter().find_map(|one| pick(one, left)),
        Value::Object(map) => map.values().find_map(|one| pick(one, left)),
        _ => None,
    }
}

/// Numbers that follow from libFuzzer's seed, so that a run can be had again (xorshift64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16) % limit.max(1)
    }

    fn index(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).unwrap_or_default()
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        list.get(self.index(list.len()))
    }
}
