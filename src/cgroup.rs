//! The memory that the process may use, as its control groups say.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where control groups are in all containers, and on nearly all machines.
const ROOT: &str = "/sys/fs/cgroup";

/// The least limit of the groups that the process is in, in bytes; nothing where there is none, or nobody says.
pub fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    least(&groups, |path| fs::read_to_string(Path::new(ROOT).join(path)).ok())
}

/// The least limit of the groups that a text as `/proc/self/cgroup` names, and of those around them, by files that are read by
/// their path below the root. A container has often only the files of its own group, at the root.
fn least(groups: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let files = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let (root, file) = match controllers {
            "" => ("", "memory.max"),
            other if other.split(',').any(|it| it == "memory") => {
                ("memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        Some((Path::new(root).join(path.trim_start_matches('/')), PathBuf::from(root), file))
    });
    let limits = files.flat_map(|(group, root, file)| {
        let around: Vec<_> = group
            .ancestors()
            .take_while(|around| around.starts_with(&root))
            .map(|around| around.join(file))
            .collect();
        around.into_iter().filter_map(|file| bytes(&read(&file)?))
    });
    limits.min()
}

/// The number in a file. Version 2 has `max` where there is no limit, version 1 a number that nobody could mean.
fn bytes(text: &str) -> Option<u64> {
    let bytes = text.trim().parse().ok()?;
    (bytes < 1 << 62).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(groups: &str, files: &[(&str, &str)], wanted: Option<u64>) {
        let read = |path: &Path| {
            let found = files.iter().find(|(known, _)| Path::new(known) == path);
            found.map(|(_, text)| format!("{text}\n"))
        };
        assert_eq!(least(groups, read), wanted, "{groups} {files:?}");
    }

    #[test]
    fn the_least_limit_around_the_process_counts() {
        // A container that sees itself as the root.
        check("0::/\n", &[("memory.max", "268435456")], Some(268_435_456));
        check("0::/\n", &[("memory.max", "max")], None);
        check("0::/\n", &[], None);
        // A process of a machine.
        let files =
            [("a/memory.max", "500"), ("a/b/memory.max", "max"), ("a/b/c/memory.max", "900")];
        check("0::/a/b/c\n", &files, Some(500));
        check("0::/a/b/c\n", &files[1..], Some(900));
        // A container that sees the path of the machine, but not its files.
        check("0::/kubepods/pod\n", &[("memory.max", "7")], Some(7));
    }

    #[test]
    fn version_1_has_other_files() {
        let groups = "9:name=systemd:/\n4:cpu,memory:/docker/x\n0::/\n";
        check(groups, &[("memory/docker/x/memory.limit_in_bytes", "300")], Some(300));
        check(groups, &[("memory/memory.limit_in_bytes", "400")], Some(400));
        check(groups, &[("memory/memory.limit_in_bytes", "9223372036854771712")], None);
        check(groups, &[("memory.limit_in_bytes", "1"), ("docker/x/memory.max", "1")], None);
    }

    #[test]
    fn what_says_nothing_is_no_limit() {
        for groups in ["", "\n", "0", "0:", "0:x", "::", "garbage\n\u{0}"] {
            check(groups, &[], None);
        }
    }
}
