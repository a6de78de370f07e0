// SPDX-License-Identifier: Apache-2.0
//! A bridge in a network namespace of this test, devices at it in namespaces of theirs, and the helper of it all.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kernel::process::{self, Forked};
use kernel::types::NamespaceKind;
use network::Mac;
use network::helper::{Config, Endpoint, Helper, write_config, write_endpoint};

/// The network, its addresses `10.99.0.0/24` and `fd99::/64`.
pub(crate) struct Link {
    pub(crate) directory: PathBuf,
    pub(crate) config: Config,
    pub(crate) helper: Option<process::Child>,
    base: PathBuf,
}

/// A device at the bridge, in a network namespace of its own as long as this is there.
pub(crate) struct Device {
    process: Child,
    pub(crate) mac: Mac,
    pub(crate) v4: Ipv4Addr,
    pub(crate) v6: Ipv6Addr,
}

/// Runs a shell command; its output.
pub(crate) fn run(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {}\n{text}", output.status);
    text
}

/// Asks again until the answer is true, for at most five seconds.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}: not after twenty seconds");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Without root there is nothing to test, which is said where skipped tests are counted.
pub(crate) fn skipped(test: &str) -> bool {
    if process::euid() == 0 {
        return false;
    }
    println!("SKIPPED: {test}: it needs root");
    if let Some(path) = std::env::var_os("CELLA_SKIP_LOG") {
        kernel::file::append(path.as_ref(), format!("SKIPPED: {test}: it needs root\n").as_bytes()).unwrap();
    }
    true
}

impl Link {
    /// The bridge is up, and nobody answers yet.
    pub(crate) fn new(name: &str) -> Self {
        kernel::namespace::unshare(NamespaceKind::Net.flag()).unwrap();
        run("ip link set lo up && ip link add br0 type bridge && ip addr add 10.99.0.1/24 dev br0 \
             && ip -6 addr add fd99::1/64 dev br0 nodad && ip link set br0 up");
        let base = std::env::temp_dir().join(format!("cella-helper-{name}-{}", std::process::id()));
        let config = Config {
            network: "net".into(),
            bridge: "br0".into(),
            gateway4: Some((Ipv4Addr::new(10, 99, 0, 1), 24)),
            gateway6: Some(("fd99::1".parse().unwrap(), 64)),
            dns: true,
            port: 53,
            dhcp: true,
            domain: "cella".into(),
            internal: false,
            upstream: vec!["127.0.0.1:5300".parse().unwrap()],
            servers: Vec::new(),
            mtu: 1400,
        };
        std::fs::create_dir_all(&base).unwrap();
        Self { directory: base.join("net"), config, helper: None, base }
    }

    /// The helper answers.
    pub(crate) fn serve(&mut self) {
        write_config(&self.directory, &self.config).unwrap();
        let helper = Helper::open(&self.directory, self.config.clone()).unwrap();
        match process::clone(0, None).unwrap() {
            Forked::Child => {
                let code = match helper.serve(None) {
                    Ok(()) => 0,
                    Err(error) => {
                        eprintln!("serve: {error}");
                        1
                    }
                };
                process::exit_now(code)
            }
            Forked::Parent(child) => self.helper = Some(child),
        }
    }

    /// The device number `number` (2 to 254), with its addresses when `configured`.
    pub(crate) fn device(&self, number: u8, configured: bool) -> Device {
        let mut unshare = Command::new("unshare");
        unshare.args(["-n", "sh", "-c", "echo && exec sleep 600"]).stdout(Stdio::piped());
        let mut process = unshare.spawn().unwrap();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        let mac = Mac([2, 0, 0, 0, 0, number]);
        let (v4, v6) = (Ipv4Addr::new(10, 99, 0, number), mac.eui64("fd99::".parse().unwrap()));
        let device = Device { process, mac, v4, v6 };
        let pid = device.process.id();
        run(&format!(
            "ip link add v{number} type veth peer name eth0 address {mac} netns {pid} && ip link set v{number} master br0 up"
        ));
        if configured {
            device.run(&format!(
                "ip link set lo up && ip link set eth0 up && ip addr add {v4}/24 dev eth0 && ip addr add {v6}/64 dev eth0 nodad \
                 && ip route add default via 10.99.0.1"
            ));
        }
        device
    }

    /// Tells the helper of a container on this network.
    pub(crate) fn tell(&self, device: &Device, names: &[&str]) {
        self.tell_of("net", device, names);
    }

    /// Tells the helper of a container on a network.
    pub(crate) fn tell_of(&self, network: &str, device: &Device, names: &[&str]) {
        let endpoint = Endpoint {
            container: format!("id-{}", device.mac),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            mac: device.mac,
            v4: Some(device.v4),
            v6: Some(device.v6),
        };
        write_endpoint(&self.base.join(network), &device.mac.to_string(), &endpoint).unwrap();
    }

    /// What the process of the helper says of itself, as a line of `/proc/PID/status`.
    pub(crate) fn status(&self, key: &str) -> String {
        let pid = self.helper.as_ref().unwrap().pid;
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {key} in {text}")).split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl Device {
    /// Runs a shell command in the device's namespace.
    pub(crate) fn run(&self, command: &str) -> String {
        run(&format!("nsenter -t {} -n sh -c '{command}'", self.process.id()))
    }

    /// Starts one.
    pub(crate) fn start(&self, command: &[&str]) -> Command {
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["-t", &self.process.id().to_string(), "-n"]).args(command);
        nsenter
    }

    /// What `dig` prints for these words, one answer each line.
    pub(crate) fn dig(&self, words: &str) -> String {
        self.run(&format!("dig +time=2 +tries=1 +short @10.99.0.1 {words}")).trim().to_owned()
    }

    /// The whole of what `dig` prints.
    pub(crate) fn dig_all(&self, words: &str) -> String {
        self.run(&format!("dig +time=2 +tries=1 @10.99.0.1 {words}"))
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(helper) = &self.helper {
            process::signal(&helper.pidfd, 9).ok();
            process::wait(&helper.pidfd).ok();
        }
        std::fs::remove_dir_all(&self.base).ok();
    }
}
