// SPDX-License-Identifier: Apache-2.0
//! The floors of ARCHITECTURE.md as a table, and the check that no arrow between crates leaves it.

use super::{Fault, files};
use crate::Result;
use crate::cargo::{Package, Workspace};
use std::path::Path;

/// Each crate and what it may use of ours. Arrows for tests (dev-dependencies) are free.
const FLOORS: [(&str, &[&str]); 15] = [
    ("cella", &["engine", "server", "spec"]),
    ("cella-oci", &["runtime", "plan", "spec", "kernel"]),
    ("server", &["engine", "spec"]),
    ("engine", &["runtime", "image", "network", "procview", "plan", "spec", "kernel"]),
    ("runtime", &["plan", "spec", "kernel", "stub"]),
    ("image", &["spec", "kernel"]),
    ("network", &["spec", "kernel"]),
    ("procview", &["kernel"]),
    ("intercept", &["kernel"]),
    ("plan", &["spec", "kernel"]),
    ("stub", &["plan"]),
    ("spec", &[]),
    ("kernel", &[]),
    ("xtask", &["kernel"]),
    ("fuzz", &["spec", "plan", "stub", "image", "network", "procview", "kernel"]),
];

/// The crates that may speak to Linux by themselves, and so are not under `unsafe_code = "forbid"`.
pub(crate) const MAY_BE_UNSAFE: [&str; 2] = ["kernel", "stub"];

pub(crate) fn check(workspace: &Workspace) -> Result<Vec<Fault>> {
    let manifest = files::read(&workspace.workspace_root.join("Cargo.toml"))?;
    let mut faults = Vec::new();
    for package in &workspace.packages {
        let path = package.manifest_path.strip_prefix(&workspace.workspace_root).unwrap_or(&package.manifest_path);
        let text = files::read(&package.manifest_path)?;
        arrows(package, path, &text, &mut faults);
        lints(package, path, &text, &manifest, &mut faults);
    }
    Ok(faults)
}

fn arrows(package: &Package, path: &Path, text: &str, faults: &mut Vec<Fault>) {
    let Some((_, allowed)) = FLOORS.iter().find(|(name, _)| *name == package.name) else {
        faults.push(Fault::new(
            path,
            1,
            format!("crate {} stands on no floor: a new crate needs an ADR", package.name),
        ));
        return;
    };
    let ours = package.dependencies.iter().filter(|d| d.path.is_some() && d.kind.as_deref() != Some("dev"));
    for dependency in ours.filter(|d| !allowed.contains(&d.name.as_str())) {
        let line = text.lines().position(|line| line.starts_with(&dependency.name)).map_or(1, |n| n + 1);
        faults.push(Fault::new(path, line, format!("{} may not use {}", package.name, dependency.name)));
    }
}

/// Every crate takes the workspace's lints; the two that may be unsafe repeat all but `unsafe_code`.
fn lints(package: &Package, path: &Path, text: &str, workspace: &str, faults: &mut Vec<Fault>) {
    if !MAY_BE_UNSAFE.contains(&package.name.as_str()) {
        if !section(text, "[lints]").any(|line| line == "workspace = true") {
            faults.push(Fault::new(path, 1, "the workspace's lints are not taken: [lints] workspace = true"));
        }
        return;
    }
    for kind in ["rust", "clippy"] {
        let own: Vec<&str> = section(text, &format!("[lints.{kind}]")).collect();
        let wanted = format!("[workspace.lints.{kind}]");
        for lint in section(workspace, &wanted).filter(|l| !l.starts_with("unsafe_code") && !own.contains(l)) {
            faults.push(Fault::new(path, 1, format!("[lints.{kind}] lacks the workspace's {lint}")));
        }
    }
}

/// The lines of one table of a manifest, without empty ones and comments.
fn section<'a>(text: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let after = text.lines().skip_while(move |line| *line != name).skip(1);
    let name_less = after.take_while(|line| !line.starts_with('['));
    name_less.map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::Dependency;

    fn package(name: &str, uses: &str, kind: Option<&str>) -> Package {
        let dependency =
            Dependency { name: uses.into(), kind: kind.map(str::to_owned), path: Some(format!("/w/{uses}").into()) };
        Package { name: name.into(), manifest_path: "/w/Cargo.toml".into(), dependencies: vec![dependency] }
    }

    fn faults(package: &Package) -> Vec<Fault> {
        let mut faults = Vec::new();
        arrows(package, Path::new("Cargo.toml"), "[dependencies]\nengine.workspace = true\n", &mut faults);
        faults
    }

    #[test]
    fn arrows_point_down_only() {
        assert!(faults(&package("cella", "engine", None)).is_empty());
        let up = faults(&package("spec", "engine", None));
        assert_eq!(up, [Fault::new(Path::new("Cargo.toml"), 2, "spec may not use engine")]);
        assert_eq!(faults(&package("image", "network", Some("build"))).len(), 1);
        assert!(faults(&package("spec", "engine", Some("dev"))).is_empty());
        assert_eq!(faults(&package("misc", "spec", None)).len(), 1);
    }

    #[test]
    fn lints_are_the_workspaces() {
        let workspace = "[workspace.lints.rust]\nunsafe_code = \"forbid\"\nunreachable_pub = \"warn\"\n\n[workspace.lints.clippy]\n";
        let count = |name: &str, text: &str| {
            let mut faults = Vec::new();
            lints(&package(name, "spec", None), Path::new("Cargo.toml"), text, workspace, &mut faults);
            faults.len()
        };
        assert_eq!(count("spec", "[lints]\nworkspace = true\n"), 0);
        assert_eq!(count("spec", "[lints.rust]\nunsafe_code = \"allow\"\n"), 1);
        assert_eq!(count("kernel", "[lints.rust]\nunreachable_pub = \"warn\"\n"), 0);
        assert_eq!(count("kernel", "[lints.rust]\n"), 1);
    }
}
