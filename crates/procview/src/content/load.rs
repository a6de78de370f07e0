// SPDX-License-Identifier: Apache-2.0
//! The load average: the kernel's own arithmetic (kernel/sched/loadavg.c) on the tasks of one container; pure.

use std::io::Write;

/// How often the kernel samples.
pub(super) const TICK_MS: u64 = 5000;

/// Nobody has asked for so long: it is not sampled any more. What is missed then is made up for by [`Load::ask`].
const INTEREST_MS: u64 = 60 * 1000;

/// 1.0 in the kernel's fixed point.
const ONE: u64 = 1 << 11;

/// exp(-5 s / 1, 5 and 15 minutes) in it.
const DECAY: [u64; 3] = [1884, 2014, 2037];

/// More tasks than there can be, in it.
const MOST: u64 = u32::MAX as u64 * ONE;

/// Averages over 1, 5 and 15 minutes.
#[derive(Debug, Default)]
pub(super) struct Load {
    averages: [u64; 3],
    sampled_ms: Option<u64>,
    /// Processor time that was used by then, nanoseconds.
    used_ns: u64,
    asked_ms: Option<u64>,
    changed: bool,
}

impl Load {
    /// Has it changed since this was asked last?
    pub(super) fn changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// All that the next one needs.
    pub(super) fn words(&self) -> [u64; 5] {
        let [one, five, fifteen] = self.averages;
        [one, five, fifteen, self.sampled_ms.map_or(0, |sampled| sampled.saturating_add(1)), self.used_ns]
    }

    /// What [`Self::words`] has given.
    pub(super) fn of(words: [u64; 5]) -> Self {
        let [one, five, fifteen, sampled, used_ns] = words;
        let averages = [one, five, fifteen].map(|average| average.min(MOST));
        Self { averages, sampled_ms: sampled.checked_sub(1), used_ns, asked_ms: None, changed: false }
    }

    /// Somebody looks at the load average, by when so much processor time is used.
    ///
    /// Nobody has counted tasks while nobody asked: the processor time of that while says how many have run on average.
    pub(super) fn ask(&mut self, now_ms: u64, used_ns: u64, uptime_ns: u64) {
        self.catch_up(now_ms, used_ns, uptime_ns);
        self.asked_ms = Some(now_ms);
    }

    /// The same, of somebody for whom it need not be sampled from now on.
    pub(super) fn catch_up(&mut self, now_ms: u64, used_ns: u64, uptime_ns: u64) {
        if self.next_ms(now_ms).is_none() {
            let since_ms = self.sampled_ms.map_or(uptime_ns / 1_000_000, |sampled| now_ms.saturating_sub(sampled));
            let ran_ms = used_ns.saturating_sub(self.used_ns) / 1_000_000;
            let active = u128::from(ran_ms) * u128::from(ONE) / u128::from(since_ms.max(1));
            // What is left over of a tick is part of the next one.
            let ticks = since_ms / TICK_MS;
            if ticks > 0 || self.sampled_ms.is_none() {
                self.pass(ticks, u64::try_from(active).unwrap_or(u64::MAX).min(MOST));
                (self.sampled_ms, self.used_ns) = (Some(now_ms), used_ns);
            }
        }
    }

    /// So many ticks, in which so many tasks (in fixed point) ran or waited for a device.
    fn pass(&mut self, ticks: u64, active: u64) {
        for (average, decay) in self.averages.iter_mut().zip(DECAY) {
            *average = step(*average, power(decay, ticks), active);
        }
        self.changed = true;
    }

    /// When it wants to be sampled next.
    pub(super) fn next_ms(&self, now_ms: u64) -> Option<u64> {
        let asked = self.asked_ms?;
        (now_ms.saturating_sub(asked) <= INTEREST_MS).then(|| self.sampled_ms.unwrap_or(0).saturating_add(TICK_MS))
    }

    /// Takes a sample of so many tasks that run or wait for a device; ticks that were missed are taken to have been like it.
    pub(super) fn sample(&mut self, now_ms: u64, active: u64, used_ns: u64) {
        let since = now_ms.saturating_sub(self.sampled_ms.unwrap_or(now_ms));
        let ticks = (since / TICK_MS).max(1);
        // What is left over of a tick is part of the next one.
        self.sampled_ms = Some(now_ms.saturating_sub(since % TICK_MS));
        self.used_ns = used_ns;
        self.pass(ticks, active.saturating_mul(ONE).min(MOST));
    }

    /// As sysinfo(2) has them: 65536 is 1.0.
    pub(super) fn for_sysinfo(&self) -> [u64; 3] {
        self.averages.map(|average| average << 5)
    }

    /// `/proc/loadavg`.
    pub(super) fn write(&self, running: u64, tasks: u64, last_pid: i32, out: &mut Vec<u8>) {
        for average in self.averages {
            let shown = average.saturating_add(ONE / 200);
            write!(out, "{}.{:02} ", shown / ONE, shown % ONE * 100 / ONE).ok();
        }
        writeln!(out, "{running}/{tasks} {last_pid}").ok();
    }
}

fn step(load: u64, decay: u64, active: u64) -> u64 {
    let sum = load.saturating_mul(decay).saturating_add(active.saturating_mul(ONE - decay.min(ONE)));
    let sum = if active >= load { sum.saturating_add(ONE - 1) } else { sum };
    sum / ONE
}

/// `x` to the `n`th in fixed point, rounded as the kernel does.
fn power(mut x: u64, mut n: u64) -> u64 {
    let mut result = ONE;
    while n > 0 {
        if n & 1 == 1 {
            result = (result * x + (ONE / 2)) / ONE;
        }
        n >>= 1;
        x = (x * x + (ONE / 2)) / ONE;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(load: &Load) -> String {
        let mut out = Vec::new();
        load.write(1, 7, 42, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nothing_is_shown_before_the_first_sample() {
        let mut load = Load::default();
        assert_eq!(load.next_ms(0), None);
        load.ask(100_000, 0, 0);
        assert_eq!(text(&load), "0.00 0.00 0.00 1/7 42\n");
        assert_eq!(load.next_ms(100_000), Some(105_000));
    }

    #[test]
    fn two_busy_tasks_are_a_load_of_two_after_some_minutes() {
        let mut load = Load::default();
        load.ask(0, 0, 0);
        load.sample(5000, 2, 0);
        assert_eq!(text(&load), "0.16 0.03 0.01 1/7 42\n");
        for tick in 2..=240 {
            load.sample(tick * 5000, 2, 0);
        }
        assert!(text(&load).starts_with("2.00 1.9"), "{}", text(&load));
        // Missed ticks count.
        let mut late = Load::default();
        late.ask(0, 0, 0);
        late.sample(240 * 5000, 2, 0);
        assert!(text(&late).starts_with("2.00 1.9"), "{}", text(&late));
        assert_eq!(late.next_ms(240 * 5000), None);
    }

    #[test]
    fn who_is_asked_late_tells_of_the_time_before() {
        let mut load = Load::default();
        // A processor and a half for two hours.
        load.ask(9_000_000_000, 10_800_000_000_000, 7_200_000_000_000);
        assert_eq!(text(&load), "1.50 1.50 1.50 1/7 42\n");
        // Idle for the next two, by another one's eyes.
        assert!(load.changed() && !load.changed());
        let mut load = Load::of(load.words());
        load.ask(9_007_200_000, 10_800_000_000_000, 14_400_000_000_000);
        assert!(text(&load).starts_with("0.00 0.00 0.0"), "{}", text(&load));
        // A minute's work just after the start.
        let mut young = Load::default();
        young.ask(60_000, 60_000_000_000, 60_000_000_000);
        assert!(text(&young).starts_with("0.63 0.18 0.06"), "{}", text(&young));
    }

    #[test]
    fn nobody_is_sampled_who_has_not_asked_for_a_minute() {
        let mut load = Load::default();
        load.ask(0, 0, 0);
        assert_eq!(load.next_ms(INTEREST_MS), Some(TICK_MS));
        assert_eq!(load.next_ms(INTEREST_MS + 1), None);
        load.ask(2 * INTEREST_MS, 0, 0);
        assert_eq!(load.next_ms(2 * INTEREST_MS), Some(2 * INTEREST_MS + TICK_MS));
    }

    proptest! {
        #[test]
        fn it_stays_between_what_was_sampled(samples in prop::collection::vec((any::<u32>(), any::<u64>()), 0..20)) {
            let (mut load, mut now) = (Load::default(), 0_u64);
            let most = samples.iter().map(|sample| u64::from(u32::try_from(sample.1).unwrap_or(u32::MAX))).max().unwrap_or(0);
            load.ask(0, 0, 0);
            for (pause, active) in samples {
                now += u64::from(pause);
                load.sample(now, active, 0);
                prop_assert!(load.averages.iter().all(|average| *average <= most * ONE));
            }
            text(&load);
        }
    }
}
