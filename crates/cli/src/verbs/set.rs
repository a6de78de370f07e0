// SPDX-License-Identifier: Apache-2.0
//! `cella set`: changes limits and policy, at once when it runs.

use clap::{ArgMatches, Command};
use engine::{Change, Error, Kind, Result};
use spec::definition::Limits;

use crate::app::Context;
use crate::definition::{autostart, bandwidth, limits, parsed, quota, texts};
use crate::flags::{self, containers, switch, value};

pub(super) fn command(command: Command) -> Command {
    command
        .about("Change limits and restart policy, also while it runs")
        .args(flags::limits())
        .args(flags::bandwidth())
        .arg(flags::quota())
        .args(flags::autostart())
        .arg(switch("no-autostart", "Do not start it with the host any more").conflicts_with("autostart"))
        .arg(value("restart", "POLICY", "no, on-failure[:N], always, unless-stopped"))
        .arg(containers())
        .after_help("Example:\n  cella set web --memory 1G --cpus 2")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let change = Change {
        limits: limits(matches)?,
        restart: parsed(matches, "restart")?,
        bandwidth: bandwidth(matches, "net-")?,
        net_quota: quota(matches)?,
        autostart: match matches.get_flag("no-autostart") {
            true => Some(None),
            false => autostart(matches)?.map(Some),
        },
    };
    let network = change.bandwidth.is_some() || change.net_quota.is_some();
    let policy = change.restart.is_some() || change.autostart.is_some();
    if change.limits == Limits::default() && !policy && !network {
        return Err(Error::new(Kind::Invalid, "nothing to change").hint("cella set --help"));
    }
    let engine = context.engine()?;
    Context::each(&texts(matches, "container"), |name| {
        for warning in engine.set(name, &change)? {
            crate::output::tell(&format!("cella: warning: {warning}"));
        }
        crate::output::line(name);
        Ok(())
    })
}
