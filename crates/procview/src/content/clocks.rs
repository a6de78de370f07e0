// SPDX-License-Identifier: Apache-2.0
//! Processor time by visible processor: `stat` and `uptime`; pure.

use std::io::Write;

use kernel::cgroup::{ProcessorTime, Quota};

/// Nanoseconds in what the kernel shows as a tick (`USER_HZ`), whatever its own is.
const TICK_NS: u64 = 10_000_000;

/// The time of one visible processor since the container started; in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Clock {
    user: u64,
    nice: u64,
    system: u64,
    steal: u64,
    idle: u64,
    /// All that there was to be used.
    capacity: u64,
}

impl Clock {
    fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.user, other.user),
            (&mut self.nice, other.nice),
            (&mut self.system, other.system),
            (&mut self.steal, other.steal),
            (&mut self.idle, other.idle),
            (&mut self.capacity, other.capacity),
        ];
        for (sum, value) in pairs {
            *sum = sum.saturating_add(value);
        }
    }

    fn busy(&self) -> u64 {
        self.user.saturating_add(self.nice).saturating_add(self.system).saturating_add(self.steal)
    }
}

/// What is known at one moment.
#[derive(Debug)]
pub(super) struct Moment<'a> {
    /// Nanoseconds since the container started.
    pub(super) uptime_ns: u64,
    /// The host's processors that are seen.
    pub(super) visible: &'a [u32],
    /// Are these all that the container may run on?
    pub(super) is_all: bool,
    pub(super) quota: Option<Quota>,
    pub(super) time: &'a ProcessorTime,
}

impl Moment<'_> {
    /// The processor time that there is in so much real time.
    fn capacity(&self, ns: u64) -> u64 {
        let all = ns.saturating_mul(u64::try_from(self.visible.len()).unwrap_or(1));
        self.quota.map_or(all, |quota| quota.share_of(ns).min(all))
    }
}

/// The time of each visible processor, carried on from one moment to the next: what is shown never goes back, whatever
/// becomes of the limits meanwhile.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    each: Vec<Clock>,
    uptime_ns: u64,
    time: ProcessorTime,
    changed: bool,
}

/// Words before those of each processor, and then for each of the host's, and each that is seen.
const WORDS: usize = 7;

impl Clocks {
    /// Have they gone on since this was asked last?
    pub(super) fn changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// All that the next one needs.
    pub(super) fn words(&self) -> Vec<u64> {
        let time = &self.time;
        let count = |length: usize| u64::try_from(length).unwrap_or(0);
        let mut words = vec![count(time.each.len()), count(self.each.len()), self.uptime_ns];
        words.extend([time.user_ns, time.nice_ns, time.system_ns, time.throttled_ns]);
        words.extend(time.each.iter().flat_map(|(cpu, user, system)| [u64::from(*cpu), *user, *system]));
        let parts = |one: &Clock| [one.user, one.nice, one.system, one.steal, one.idle, one.capacity];
        words.extend(self.each.iter().flat_map(parts));
        words
    }

    /// What [`Self::words`] has given.
    pub(super) fn of(words: &[u64]) -> Option<Self> {
        let &[host, seen, uptime_ns, user_ns, nice_ns, system_ns, throttled_ns] = words.first_chunk::<WORDS>()?;
        let (host, seen) = (usize::try_from(host).ok()?, usize::try_from(seen).ok()?);
        let rest = words.get(WORDS..)?;
        let (of_host, of_seen) = rest.split_at_checked(host.checked_mul(3)?)?;
        if of_seen.len() != seen.checked_mul(6)? {
            return None;
        }
        let processor = |part: &[u64; 3]| (u32::try_from(part[0]).unwrap_or(0), part[1], part[2]);
        let clock = |&[user, nice, system, steal, idle, capacity]: &[u64; 6]| Clock {
            user,
            nice,
            system,
            steal,
            idle,
            capacity,
        };
        let each = of_host.as_chunks::<3>().0.iter().map(processor).collect();
        let time = ProcessorTime { user_ns, nice_ns, system_ns, throttled_ns, each };
        Some(Self { each: of_seen.as_chunks::<6>().0.iter().map(clock).collect(), uptime_ns, time, changed: false })
    }

    /// Adds what was used since the last moment: to the processor that used it where that is known and visible, evenly to all
    /// else, the remainder to the first.
    pub(super) fn advance(&mut self, now: &Moment) {
        self.resize(now.visible.len().max(1));
        let (before, time) = (std::mem::take(&mut self.time), now.time);
        let mut user = time.user_ns.saturating_sub(before.user_ns);
        let mut system = time.system_ns.saturating_sub(before.system_ns);
        if now.is_all {
            for (clock, cpu) in self.each.iter_mut().zip(now.visible) {
                let (more_user, more_system) = since(&before, time, *cpu);
                let (more_user, more_system) = (more_user.min(user), more_system.min(system));
                clock.user = clock.user.saturating_add(more_user);
                clock.system = clock.system.saturating_add(more_system);
                (user, system) = (user - more_user, system - more_system);
            }
        }
        self.spread(user, |clock| &mut clock.user);
        self.spread(system, |clock| &mut clock.system);
        self.spread(time.nice_ns.saturating_sub(before.nice_ns), |clock| &mut clock.nice);
        self.spread(now.capacity(now.uptime_ns.saturating_sub(self.uptime_ns)), |clock| &mut clock.capacity);
        self.steal(time.throttled_ns);
        self.rest(now.uptime_ns);
        self.uptime_ns = self.uptime_ns.max(now.uptime_ns);
        self.time = time.clone();
        self.changed = true;
    }

    /// A processor that is not seen any more leaves its time to the first, so that the sum stays.
    fn resize(&mut self, count: usize) {
        let gone = if self.each.len() > count { self.each.split_off(count) } else { Vec::new() };
        self.each.resize(count, Clock::default());
        if let Some(first) = self.each.first_mut() {
            gone.iter().for_each(|clock| first.add(clock));
        }
    }

    fn spread(&mut self, amount: u64, part: impl Fn(&mut Clock) -> &mut u64) {
        let count = u64::try_from(self.each.len()).unwrap_or(1).max(1);
        let (share, mut rest) = (amount / count, amount % count);
        for clock in &mut self.each {
            let value = part(clock);
            *value = value.saturating_add(share).saturating_add(u64::from(rest > 0));
            rest = rest.saturating_sub(1);
        }
    }

    /// What there was to be used and was not is idle time: of those processors that had room for it.
    fn rest(&mut self, uptime_ns: u64) {
        let sum = |part: fn(&Clock) -> u64| self.each.iter().map(part).fold(0, u64::saturating_add);
        let idle = sum(|clock| clock.idle);
        let more = sum(|clock| clock.capacity).saturating_sub(sum(Clock::busy)).saturating_sub(idle);
        let room = |clock: &Clock| uptime_ns.saturating_sub(clock.busy().saturating_add(clock.idle));
        let rooms: Vec<u64> = self.each.iter().map(room).collect();
        let all = rooms.iter().copied().fold(0, u64::saturating_add);
        let mut left = more;
        for (clock, room) in self.each.iter_mut().zip(rooms) {
            let part = u128::from(more) * u128::from(room) / u128::from(all.max(1));
            let part = u64::try_from(part).unwrap_or(u64::MAX).min(left);
            clock.idle = clock.idle.saturating_add(part);
            left -= part;
        }
        self.spread(left, |clock| &mut clock.idle);
    }

    /// Time for which the quota kept tasks waiting is shown as stolen, as far as there was any that was not used.
    fn steal(&mut self, throttled: u64) {
        let sum = |part: fn(&Clock) -> u64| self.each.iter().map(part).fold(0, u64::saturating_add);
        let stolen = sum(|clock| clock.steal);
        let room = sum(|clock| clock.capacity).saturating_sub(sum(|clock| clock.busy().saturating_sub(clock.steal)));
        self.spread(throttled.min(room).saturating_sub(stolen), |clock| &mut clock.steal);
    }

    /// The lines of `/proc/stat` about processors: the first is the exact sum of the others.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let ticks = |clock: &Clock| {
            [clock.user, clock.nice, clock.system, clock.idle, 0, 0, 0, clock.steal, 0, 0].map(|ns| ns / TICK_NS)
        };
        let each: Vec<_> = self.each.iter().map(ticks).collect();
        let mut sum = [0_u64; 10];
        for line in &each {
            sum.iter_mut().zip(line).for_each(|(sum, value)| *sum = sum.saturating_add(*value));
        }
        put("cpu ", &sum, out);
        for (number, line) in each.iter().enumerate() {
            put(&format!("cpu{number}"), line, out);
        }
    }
}

fn put(name: &str, values: &[u64], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    for value in values {
        write!(out, " {value}").ok();
    }
    out.push(b'\n');
}

/// User and system time of one of the host's processors between two readings.
fn since(before: &ProcessorTime, now: &ProcessorTime, cpu: u32) -> (u64, u64) {
    let of = |time: &ProcessorTime| time.each.iter().find(|(number, ..)| *number == cpu).copied();
    let (_, user, system) = of(now).unwrap_or_default();
    let (_, old_user, old_system) = of(before).unwrap_or_default();
    (user.saturating_sub(old_user), system.saturating_sub(old_system))
}

/// `/proc/uptime`: since the start, and for how much of its processors' time the container was idle; in hundredths.
pub(super) fn uptime(now: &Moment, out: &mut Vec<u8>) {
    let idle_ns = now.capacity(now.uptime_ns).saturating_sub(now.time.used_ns());
    let part = |ns: u64| (ns / 1_000_000_000, ns / TICK_NS % 100);
    let ((seconds, rest), (idle, idle_rest)) = (part(now.uptime_ns), part(idle_ns));
    writeln!(out, "{seconds}.{rest:02} {idle}.{idle_rest:02}").ok();
}

/// The rest of `/proc/stat`, after the processors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) boot_s: u64,
    pub(super) processes: u64,
    pub(super) running: u64,
    pub(super) blocked: u64,
    /// What there was of [`EVENTS`] before.
    pub(super) counted: [u64; 3],
}

/// What only the host counts.
pub(super) const EVENTS: [&str; 3] = ["intr", "ctxt", "softirq"];

/// The text of `stat` is a multiple of this long, bytes: numbers get longer as they grow, and who reads just when a text's
/// length changes may get it cut (docs/procview.md).
const STAT_GRAIN: usize = 512;

/// Interrupts and context switches are those of the host since the container began: nobody counts them by container. The
/// numbers of each interrupt are zeros, as many as fill the text.
pub(super) fn stat(clocks: &Clocks, host: &str, counts: &Counts, out: &mut Vec<u8>) {
    clocks.write(out);
    let totals = EVENTS.map(|key| host_value(host, key).unwrap_or(0));
    let [before_interrupts, before_switches, before_soft] = counts.counted;
    let [interrupts, switches, soft] = totals;
    write!(out, "intr {}", interrupts.saturating_sub(before_interrupts)).ok();
    let place = out.len();
    writeln!(out, "\nctxt {}\nbtime {}", switches.saturating_sub(before_switches), counts.boot_s).ok();
    writeln!(out, "processes {}", counts.processes).ok();
    writeln!(out, "procs_running {}\nprocs_blocked {}", counts.running, counts.blocked).ok();
    writeln!(out, "softirq {} 0 0 0 0 0 0 0 0 0 0", soft.saturating_sub(before_soft)).ok();
    let zeros = zeros(out.len().next_multiple_of(STAT_GRAIN) - out.len());
    out.splice(place..place, zeros.bytes());
}

/// Words of zeros, so many bytes with the blanks before them; 1 more than a grain where there is room for a blank only.
fn zeros(length: usize) -> String {
    let length = if length == 1 { STAT_GRAIN + 1 } else { length };
    let odd = if length % 2 == 1 { " 00" } else { "" };
    odd.to_owned() + &" 0".repeat((length - odd.len()) / 2)
}

/// The first number of a line of the host's `/proc/stat`.
pub(super) fn host_value(host: &str, key: &str) -> Option<u64> {
    host.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.split(' ').next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn total(user_ns: u64, system_ns: u64) -> ProcessorTime {
        ProcessorTime { user_ns, system_ns, ..ProcessorTime::default() }
    }

    fn lines(clocks: &Clocks) -> Vec<Vec<u64>> {
        let mut out = Vec::new();
        clocks.write(&mut out);
        let text = String::from_utf8(out).unwrap();
        text.lines().map(|line| line.split_whitespace().skip(1).map(|word| word.parse().unwrap()).collect()).collect()
    }

    #[test]
    fn totals_are_split_evenly_and_sum_up() {
        let (mut clocks, time) = (Clocks::default(), total(3 * SECOND, SECOND));
        clocks.advance(&Moment { uptime_ns: 10 * SECOND, visible: &[4, 6], is_all: true, quota: None, time: &time });
        assert_eq!(
            lines(&clocks),
            [
                vec![300, 0, 100, 1600, 0, 0, 0, 0, 0, 0],
                vec![150, 0, 50, 800, 0, 0, 0, 0, 0, 0],
                vec![150, 0, 50, 800, 0, 0, 0, 0, 0, 0]
            ]
        );
    }

    #[test]
    fn each_processor_has_its_own_time_where_it_is_counted() {
        let each = vec![(0, 5 * SECOND, 0), (4, SECOND, 0), (6, 2 * SECOND, SECOND)];
        let time = ProcessorTime { each, ..total(8 * SECOND, SECOND) };
        let mut clocks = Clocks::default();
        let mut now = Moment { uptime_ns: 10 * SECOND, visible: &[4, 6], is_all: true, quota: None, time: &time };
        clocks.advance(&now);
        // What was used on one that is not seen is everybody's.
        let shown = lines(&clocks);
        assert_eq!((shown[1][0], shown[2][0], shown[2][2]), (350, 450, 100));
        now.is_all = false;
        let mut clocks = Clocks::default();
        clocks.advance(&now);
        assert_eq!(lines(&clocks)[1], lines(&clocks)[2]);
    }

    #[test]
    fn clocks_go_on_from_what_was_kept() {
        let each = vec![(0, 2 * SECOND, 0), (3, SECOND, SECOND)];
        let time = ProcessorTime { each, throttled_ns: 7, ..total(3 * SECOND, SECOND) };
        let mut clocks = Clocks::default();
        assert!(!clocks.changed());
        clocks.advance(&Moment { uptime_ns: 9 * SECOND, visible: &[0, 3], is_all: true, quota: None, time: &time });
        assert!(clocks.changed() && !clocks.changed());
        let words = clocks.words();
        let mut other = Clocks::of(&words).unwrap();
        assert_eq!(lines(&other), lines(&clocks));
        // Fewer processors from now on, as if nothing had been.
        let later = Moment { uptime_ns: 11 * SECOND, visible: &[0], is_all: true, quota: None, time: &time };
        clocks.advance(&later);
        other.advance(&later);
        assert_eq!(lines(&other), lines(&clocks));
        for cut in 0..words.len() {
            assert!(Clocks::of(words.get(..cut).unwrap()).is_none());
        }
        assert!(Clocks::of(&[u64::MAX; 9]).is_none());
    }

    #[test]
    fn half_a_processor_that_is_used_up_is_never_idle() {
        let quota = Some(Quota { quota_us: 50_000, period_us: 100_000 });
        let time = ProcessorTime { throttled_ns: 90 * SECOND, ..total(4 * SECOND, 0) };
        let mut clocks = Clocks::default();
        clocks.advance(&Moment { uptime_ns: 10 * SECOND, visible: &[0], is_all: false, quota, time: &time });
        assert_eq!(lines(&clocks)[0], [400, 0, 0, 0, 0, 0, 0, 100, 0, 0]);
    }

    #[test]
    fn a_fractional_quota_is_used_as_far_as_it_is() {
        // One busy loop on the first of two processors, and a quota of one and a half.
        let quota = Some(Quota { quota_us: 150_000, period_us: 100_000 });
        let time = ProcessorTime { each: vec![(0, 4 * SECOND, 0), (1, 0, 0)], ..total(4 * SECOND, 0) };
        let mut clocks = Clocks::default();
        clocks.advance(&Moment { uptime_ns: 4 * SECOND, visible: &[0, 1], is_all: true, quota, time: &time });
        let shown = lines(&clocks);
        assert_eq!((shown[0][0], shown[0][3]), (400, 200), "two thirds of six seconds");
        assert_eq!((shown[1][3], shown[2][3]), (0, 200));
    }

    #[test]
    fn uptime_of_a_busy_container_has_no_negative_idle() {
        let time = total(u64::MAX, 1);
        let now = Moment { uptime_ns: 61_239_000_000, visible: &[0], is_all: true, quota: None, time: &time };
        let mut out = Vec::new();
        uptime(&now, &mut out);
        assert_eq!(out, b"61.23 0.00\n");
    }

    #[test]
    fn stat_has_the_kernels_lines_in_its_order() {
        let host = "cpu  1 2\nintr 467 0 1\nctxt 14\nbtime 1795632993\nsoftirq 10 1 2\n";
        let (mut clocks, mut out) = (Clocks::default(), Vec::new());
        let time = ProcessorTime::default();
        clocks.advance(&Moment { uptime_ns: SECOND, visible: &[0], is_all: true, quota: None, time: &time });
        stat(
            &clocks,
            host,
            &Counts { boot_s: 5, processes: 9, running: 1, blocked: 0, counted: [400, 4, 99] },
            &mut out,
        );
        let text = String::from_utf8(out).unwrap();
        let zeros = text.split_once("intr 67").and_then(|(_, rest)| rest.split_once('\n')).unwrap().0.to_owned();
        assert!(zeros.len() > 300 && zeros.split(' ').skip(1).all(|word| word.parse() == Ok(0)), "{zeros}");
        let wanted = "cpu  0 0 0 100 0 0 0 0 0 0\ncpu0 0 0 0 100 0 0 0 0 0 0\nintr 67\nctxt 10\nbtime 5\nprocesses 9\n\
             procs_running 1\nprocs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n";
        assert_eq!(text.replace(&zeros, ""), wanted);
        assert_eq!(host_value(host, "btime"), Some(1_795_632_993));
    }

    #[test]
    fn stat_is_as_long_as_before_when_its_numbers_grow() {
        let (mut clocks, mut lengths) = (Clocks::default(), std::collections::BTreeSet::new());
        let time = ProcessorTime::default();
        for power in 0..10 {
            let uptime_ns = SECOND * 10_u64.pow(power);
            clocks.advance(&Moment { uptime_ns, visible: &[0, 1], is_all: true, quota: None, time: &time });
            let processes = 7 * 10_u64.pow(power / 2);
            let mut out = Vec::new();
            stat(&clocks, "", &Counts { boot_s: 5, processes, running: 1, blocked: 0, counted: [0; 3] }, &mut out);
            lengths.insert(out.len());
        }
        assert_eq!(lengths, [STAT_GRAIN].into());
        assert_eq!([0, 1, 2, 3, 4, 5].map(|length| zeros(length).len()), [0, STAT_GRAIN + 1, 2, 3, 4, 5]);
    }

    /// Uptime, user, system, processors, whether these are all, quota.
    type Step = (u64, u64, u64, usize, bool, Option<(u64, u64)>);

    /// Some years of processor time at most, or anything.
    fn steps(most: u64) -> impl Strategy<Value = Vec<Step>> {
        let quota = prop::option::of((any::<u64>(), 1_u64..1_000_000));
        prop::collection::vec((0..most, 0..most, 0..most, 1_usize..5, any::<bool>(), quota), 1..12)
    }

    fn follow(steps: Vec<Step>, mut see: impl FnMut(Vec<Vec<u64>>)) {
        let mut clocks = Clocks::default();
        for (uptime_ns, user, system, count, is_all, quota) in steps {
            let quota = quota.map(|(quota_us, period_us)| Quota { quota_us, period_us });
            let each = vec![(0, user / 2, system / 2), (2, user / 3, 0)];
            let time = ProcessorTime { each, throttled_ns: system, ..total(user, system) };
            let visible = [0, 1, 2, 3].get(..count).unwrap();
            clocks.advance(&Moment { uptime_ns, visible, is_all, quota, time: &time });
            see(lines(&clocks));
        }
    }

    proptest! {
        #[test]
        fn time_never_goes_back(steps in steps(1 << 58)) {
            let mut last: Vec<Vec<u64>> = Vec::new();
            follow(steps, |now| {
                for (old, new) in last.iter().zip(&now) {
                    assert!(old.iter().zip(new).all(|(old, new)| old <= new), "{old:?} {new:?}");
                }
                last = now;
            });
        }

        #[test]
        fn no_time_is_too_long(steps in steps(u64::MAX)) {
            follow(steps, |now| assert!(now.len() > 1));
        }
    }
}
