// SPDX-License-Identifier: Apache-2.0
//! Without root: one's own id, and ids that /etc/subuid lends.

use serde_json::json;

use crate::support::{can_run, ours, skip};

/// A command as another user, with the runtime copied to where that user can run it.
fn as_user(case: &crate::support::Case, user: u32, script: &str) -> std::process::Output {
    let program = case.path.join("cella-oci");
    std::fs::copy(case.runtime.program, &program).unwrap();
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&case.path, everybody).unwrap();
    let chown = std::process::Command::new("chown").args(["-R", &format!("{user}:{user}")]).arg(&case.path).status();
    assert!(chown.unwrap().success());
    let mut command = std::process::Command::new("setpriv");
    command.args([
        &format!("--reuid={user}"),
        &format!("--regid={user}"),
        "--clear-groups",
        "--inh-caps=-all",
        "sh",
        "-c",
        script,
    ]);
    command.env("PATH", format!("{}:/usr/bin:/bin", case.path.display())).current_dir(&case.path).output().unwrap()
}

#[test]
fn an_ordinary_user_runs_a_bundle() {
    ours("an_ordinary_user_runs_a_bundle", |case| {
        let script = format!(
            "rm -f config.json; cella-oci spec --rootless && jq '.process.args=[\"sh\",\"-c\",\"id -u; cat /proc/self/uid_map; hostname; touch /tmp/x\"] \
             | .process.terminal=false | .root.readonly=false' config.json > c && mv c config.json && cella-oci --root state run {0} && \\
             jq '.process.args=[\"sleep\",\"100\"]' config.json > c && mv c config.json && cella-oci --root state run -d {0} >/dev/null 2>&1 && \\
             cella-oci --root state exec {0} id -u && cella-oci --root state delete --force {0}",
            case.id
        );
        let output = as_user(case, 4711, &script);
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && out.starts_with("0\n") && out.contains("4711"), "{output:?}");
        use std::os::unix::fs::MetadataExt;
        assert_eq!(std::fs::metadata(case.rootfs().join("tmp/x")).unwrap().uid(), 4711);
    });
}

#[test]
fn lent_ids_come_through_newuidmap() {
    let test = "lent_ids_come_through_newuidmap";
    if !can_run(test) || !std::path::Path::new("/usr/bin/newuidmap").exists() {
        skip(test, "newuidmap is not installed");
        return;
    }
    ours(test, |case| {
        let users =
            json!([{"containerID": 0, "hostID": 4712, "size": 1}, {"containerID": 1, "hostID": 700_000, "size": 1000}]);
        case.set("/linux/uidMappings", users.clone()).set("/linux/gidMappings", users);
        let kinds = ["pid", "ipc", "uts", "mount", "user"].map(|kind| json!({"type": kind}));
        case.set("/linux/namespaces", json!(kinds));
        case.set("/linux/resources", json!({}));
        case.config["mounts"].as_array_mut().unwrap().pop();
        case.script("id -u; wc -l < /proc/self/uid_map; chown 5:5 /tmp && stat -c %u /tmp").write_config();
        // /etc/subuid of this machine stays as it is: another is mounted over it in a mount namespace of our own.
        std::fs::write(case.path.join("passwd"), "lent:x:4712:4712::/:/bin/sh\n").unwrap();
        std::fs::write(case.path.join("sub"), "lent:700000:1000\n").unwrap();
        let program = case.path.join("cella-oci");
        std::fs::copy(case.runtime.program, &program).unwrap();
        let path = case.path.display().to_string();
        let script = format!(
            "chown -R 4712:4712 {path} && chmod 755 {path} && cat passwd >> all && cat /etc/passwd >> all && \
             touch /etc/subuid /etc/subgid; mount --bind all /etc/passwd && mount --bind sub /etc/subuid && mount --bind sub /etc/subgid && \
             exec setpriv --reuid=4712 --regid=4712 --clear-groups {path}/cella-oci --root state run {}",
            case.id
        );
        let mut command = std::process::Command::new("unshare");
        let output = command
            .args(["-m", "--propagation", "private", "sh", "-c", &script])
            .current_dir(&case.path)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n2\n5\n", "{output:?}");
    });
}
