// SPDX-License-Identifier: Apache-2.0
//! `cella port`: published ports, also of a container that runs.

use clap::{Arg, ArgMatches, Command};
use engine::Result;
use spec::network::Publish;

use crate::app::Context;
use crate::definition::{text, texts};
use crate::flags::{container, format};
use crate::output;

pub(super) fn command(command: Command) -> Command {
    let ports =
        || Arg::new("port").value_name("PORT").required(true).num_args(1..).help("[IP:][HOST:]CONTAINER[/PROTOCOL]");
    command
        .about("Ports of the host that lead to a container")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("ls")
                .about("List the ports of a container, or of all")
                .arg(format())
                .arg(Arg::new("container").value_name("CONTAINER").help("Only this one"))
                .after_help("Example:\n  cella port ls web"),
        )
        .subcommand(
            Command::new("add")
                .about("Publish ports, at once when it runs")
                .arg(container())
                .arg(ports())
                .after_help("Example:\n  cella port add web 8080:80"),
        )
        .subcommand(
            Command::new("rm")
                .about("Take published ports back")
                .arg(container())
                .arg(ports())
                .after_help("Example:\n  cella port rm web 8080:80"),
        )
        .after_help("Example:\n  cella port add web 127.0.0.1:8080:80")
}

pub(super) fn run(context: &Context, matches: &ArgMatches) -> Result<i32> {
    let (word, sub) = matches.subcommand().unwrap_or(("", matches));
    let engine = context.engine()?;
    if word == "ls" && text(sub, "container").is_none() {
        return all(&engine, text(sub, "format").as_deref() == Some("json"));
    }
    let name = text(sub, "container").unwrap_or_default();
    let list = match word {
        "ls" => engine.ports(&name)?,
        "add" => engine.publish(&name, &ports(sub)?)?,
        _ => {
            engine.unpublish(&name, &ports(sub)?)?;
            return Ok(0);
        }
    };
    if word == "ls" && text(sub, "format").as_deref() == Some("json") {
        output::json(&list);
        return Ok(0);
    }
    for one in &list {
        output::line(&show(one));
    }
    Ok(0)
}

/// Those of all containers.
fn all(engine: &engine::Engine, json: bool) -> Result<i32> {
    let all = engine.all_ports()?;
    if json {
        output::json(&all);
        return Ok(0);
    }
    let row = |name: &String, one: &Publish| vec![name.as_str().into(), show(one).into()];
    let rows: Vec<Vec<output::Cell>> =
        all.iter().flat_map(|(name, list)| list.iter().map(move |one| row(name, one))).collect();
    output::table(&["NAME", "PORT"], &rows);
    Ok(0)
}

fn ports(matches: &ArgMatches) -> Result<Vec<Publish>> {
    let mut list = Vec::new();
    for text in texts(matches, "port") {
        list.extend(Publish::parse(&text)?);
    }
    Ok(list)
}

/// `80/tcp -> 0.0.0.0:8080`, as docker has it.
fn show(one: &Publish) -> String {
    let host = match one.address {
        Some(address) => std::net::SocketAddr::new(address, one.host).to_string(),
        None => format!("*:{}", one.host),
    };
    format!("{}/{} -> {host}", one.container, one.protocol)
}
