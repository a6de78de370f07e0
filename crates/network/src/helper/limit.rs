// SPDX-License-Identifier: Apache-2.0
//! How much each client may ask, so that one that asks without end leaves the others their share.

use std::collections::HashMap;
use std::hash::Hash;

/// Queries at once, and more each second: a busy container has hundreds.
const BURST: u32 = 4000;
const EACH_SECOND: u32 = 2000;

/// More clients than any network has; then all begin anew.
const CLIENTS: usize = 8192;

/// What each client has left.
#[derive(Debug)]
pub(super) struct Limit<K>(HashMap<K, Bucket>);

#[derive(Debug)]
struct Bucket {
    left: u32,
    filled_ms: u64,
}

impl<K> Default for Limit<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Limit<K> {
    /// May this client ask now?
    pub(super) fn take(&mut self, client: K, now_ms: u64) -> bool {
        if self.0.len() >= CLIENTS && !self.0.contains_key(&client) {
            self.0.clear();
        }
        let bucket = self.0.entry(client).or_insert(Bucket { left: BURST, filled_ms: now_ms });
        let passed = now_ms.saturating_sub(bucket.filled_ms).min(u64::from(BURST / EACH_SECOND) * 1000);
        let more = u32::try_from(passed * u64::from(EACH_SECOND) / 1000).unwrap_or(BURST);
        if more > 0 {
            *bucket = Bucket { left: bucket.left.saturating_add(more).min(BURST), filled_ms: now_ms };
        }
        let may = bucket.left > 0;
        bucket.left = bucket.left.saturating_sub(1);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_asks_without_end_is_held_back() {
        let mut limit = Limit::default();
        let asked = |limit: &mut Limit<u8>, client, now| (0..10_000).filter(|_| limit.take(client, now)).count();
        assert_eq!(asked(&mut limit, 1, 1000), 4000);
        assert_eq!(asked(&mut limit, 2, 1000), 4000);
        assert_eq!(asked(&mut limit, 1, 1100), 200);
        assert_eq!(asked(&mut limit, 1, 900_000), 4000);
    }
}
