//! Releases: the scripts that make the files, and what every workflow has to keep to.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use regex::Regex;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{documents::Documents, file, helm::run_helm, list, text, yaml};

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// The systems that have a binary.
const SYSTEMS: [&str; 4] = ["linux-amd64", "linux-arm64", "darwin-amd64", "darwin-arm64"];

/// The files that name a version.
const VERSIONED: &[&str] = &[
    "Cargo.toml",
    "deploy/helm/loadline/Chart.yaml",
    "deploy/base/kustomization.yaml",
    "deploy/krew/loadline.yaml",
];

const CHANGELOG: &str = "
# Changelog

## [Unreleased]

### Added

- later

## [VERSION] - 2026-12-01

### Added

- this

- that

## [0.0.1] - 2026-01-01

- earlier

[VERSION]: https://example.com
";

#[test]
fn a_tag_is_the_version_of_every_file() {
    let version = env!("CARGO_PKG_VERSION");
    let tag = format!("v{version}");
    let folder = copied();
    assert_eq!(run(folder.path(), "version", &[&tag]), Ok(format!("{version}\n")));
    for tag in ["0.1.0", "v", "v0.1", "v9.9.9", "latest", "v0.1.0;true"] {
        let error = run(folder.path(), "version", &[tag]).expect_err(tag);
        assert!(error.contains(tag), "{error}");
    }
    for path in VERSIONED {
        let folder = copied();
        let text = fs::read_to_string(file(path)).expect("the file");
        fs::write(folder.path().join(path), text.replace(version, "9.9.9")).expect("written");
        let error = run(folder.path(), "version", &[&tag]).expect_err(path);
        assert!(error.contains(path), "{error}");
    }
    let folder = copied();
    fs::write(folder.path().join("CHANGELOG.md"), "# Changelog\n").expect("written");
    let error = run(folder.path(), "version", &[&tag]).expect_err("no notes");
    assert!(error.contains("CHANGELOG.md"), "{error}");
}

#[test]
fn the_notes_are_the_section_of_the_version() {
    let folder = copied();
    let notes = run(folder.path(), "notes", &[env!("CARGO_PKG_VERSION")]);
    assert_eq!(notes, Ok("### Added\n\n- this\n\n- that\n".to_owned()));
    assert_eq!(run(folder.path(), "notes", &["0.0.1"]), Ok("- earlier\n".to_owned()));
    for missing in ["0.0", "0.0.2", "000.1"] {
        run(folder.path(), "notes", &[missing]).expect_err(missing);
    }
}

#[test]
fn an_archive_is_the_binary_with_the_licence_and_always_the_same() {
    let folder = TempDir::new().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    fs::write(path("built"), "a binary").expect("written");
    for archive in ["one", "other"] {
        run(&file(""), "archive", &[&path("built"), &path(archive)]).expect("an archive");
    }
    let read = |name: &str| fs::read(path(name)).expect("the archive");
    assert_eq!(read("one"), read("other"));
    let output = Command::new("tar").args(["--list", "--verbose", "--file", &path("one")]).output();
    let listed = String::from_utf8(output.expect("tar").stdout).expect("text");
    let entry = |line: &str| {
        let mode = line.split(' ').next().unwrap_or_default().to_owned();
        (mode, line.rsplit(' ').next().unwrap_or_default().to_owned())
    };
    let entries: Vec<_> = listed.lines().map(entry).collect();
    let expected = [("-rwxr-xr-x", "loadline"), ("-rw-r--r--", "LICENSE")];
    assert_eq!(entries, expected.map(|(mode, name)| (mode.to_owned(), name.to_owned())));
}

#[test]
fn krew_installs_the_archives_of_the_release() {
    let folder = TempDir::new().expect("a folder");
    let checksums = folder.path().join("checksums.txt");
    let row = |(number, system): (usize, &&str)| format!("{number:064}  {}\n", archive(system));
    let rows: Vec<_> = SYSTEMS.iter().enumerate().map(row).collect();
    let krew = |rows: &[String]| {
        fs::write(&checksums, rows.concat()).expect("written");
        run(&file(""), "krew", &["https://example.com/v1", &checksums.to_string_lossy()])
    };
    let manifest: Value = serde_saphyr::from_str(&krew(&rows).expect("a manifest")).expect("YAML");
    let mut expected = yaml("deploy/krew/loadline.yaml");
    for (number, system) in SYSTEMS.iter().enumerate() {
        let platform = &mut expected["spec"]["platforms"][number];
        let (os, arch) = system.split_once('-').expect("a system");
        assert_eq!(platform["selector"]["matchLabels"], json!({"os": os, "arch": arch}));
        platform["uri"] = format!("https://example.com/v1/{}", archive(system)).into();
        platform["sha256"] = format!("{number:064}").into();
    }
    assert_eq!(manifest, expected);
    assert_eq!(list(&expected["spec"]["platforms"]).count(), SYSTEMS.len());
    let error = krew(&rows[1..]).expect_err("an archive is missing");
    assert!(error.contains(&archive(SYSTEMS[0])), "{error}");
}

#[test]
fn every_file_of_a_release_has_its_checksum() {
    let folder = TempDir::new().expect("a folder");
    let (binaries, files) = (folder.path().join("binaries"), folder.path().join("files"));
    for folder in [&binaries, &files] {
        fs::create_dir(folder).expect("created");
    }
    for system in SYSTEMS {
        fs::write(binaries.join(format!("loadline-{system}")), system).expect("written");
    }
    fs::write(files.join("sbom.json"), "{}").expect("written");
    let arguments =
        [&*binaries.to_string_lossy(), &*files.to_string_lossy(), "https://example.com/v1"];
    run(&file(""), "files", &arguments).expect("the files");
    let checked = Command::new("sha256sum")
        .args(["--check", "--strict", "checksums.txt"])
        .current_dir(&files)
        .output()
        .expect("sha256sum");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let mut expected: Vec<_> = SYSTEMS.map(archive).into();
    expected.extend(["krew.yaml", "sbom.json"].map(str::to_owned));
    let checked = String::from_utf8(checked.stdout).expect("text");
    let mut checked: Vec<_> =
        checked.lines().filter_map(|line| line.strip_suffix(": OK")).collect();
    expected.sort_unstable();
    checked.sort_unstable();
    assert_eq!(checked, expected);
}

#[test]
fn a_published_chart_names_its_image_by_digest() {
    let folder = TempDir::new().expect("a folder");
    let chart = folder.path().join("loadline");
    let repository = "ghcr.io/example/loadline";
    let arguments = [repository, DIGEST, &chart.to_string_lossy()];
    run(&file(""), "chart", &arguments).expect("a chart");
    let image = |values: &str| {
        let (is_success, output) = run_helm(&chart, "loadline", values)?;
        assert!(is_success, "{values}: {output}");
        let rendered = Documents::parse(values, &output);
        let deployment = rendered.of("Deployment").next().expect("a Deployment");
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        Some(text(&container["image"]).to_owned())
    };
    let version = env!("CARGO_PKG_VERSION");
    let other = DIGEST.replace('0', "f");
    for (values, expected) in [
        (String::new(), format!("{repository}:{version}@{DIGEST}")),
        (format!("image: {{tag: {version}}}"), format!("{repository}:{version}@{DIGEST}")),
        ("image: {tag: 0.0.1}".to_owned(), format!("{repository}:0.0.1")),
        ("image: {repository: mirror/loadline}".to_owned(), format!("mirror/loadline:{version}")),
        (format!("image: {{digest: '{other}'}}"), format!("{repository}:{version}@{other}")),
        (
            format!("image: {{repository: mirror/loadline, digest: '{DIGEST}'}}"),
            format!("mirror/loadline:{version}@{DIGEST}"),
        ),
    ] {
        let Some(image) = image(&values) else {
            break;
        };
        assert_eq!(image, expected, "{values}");
    }
    run(&file(""), "chart", &arguments).expect_err("the folder exists");
    let elsewhere = folder.path().join("other").to_string_lossy().into_owned();
    for (repository, digest) in [
        (repository, "latest"),
        (repository, "sha256:0123"),
        ("ghcr.io/Example/loadline", DIGEST),
        ("ghcr.io/example/loadline@|", DIGEST),
    ] {
        run(&file(""), "chart", &[repository, digest, &elsewhere]).expect_err(digest);
    }
}

#[test]
fn the_image_is_built_with_every_file_that_the_source_includes() {
    let ignored = fs::read_to_string(file("deploy/Dockerfile.dockerignore")).expect("the file");
    let root = file("").canonicalize().expect("the repository");
    let inputs: Vec<_> = ignored
        .lines()
        .filter_map(|line| line.strip_prefix('!'))
        .map(|path| root.join(path))
        .collect();
    let macros = Regex::new(r#"include_(?:str|bytes)!\(\s*"([^"]+)"#).expect("our own expression");
    let (mut folders, mut count) = (vec![root.join("src")], 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = fs::read_to_string(&path).expect("source");
            for included in macros.captures_iter(&source).filter_map(|found| found.get(1)) {
                let included = folder.join(included.as_str()).canonicalize().expect("a file");
                let is_input = inputs.iter().any(|input| included.starts_with(input));
                assert!(is_input, "{} includes {}", path.display(), included.display());
                count += 1;
            }
        }
    }
    assert!(count > 5, "{count}");
}

#[test]
fn workflows_use_pinned_actions_and_no_right_that_a_job_does_not_name() {
    let pinned = Regex::new(r"^[\w-]+/[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$").expect("our own");
    for entry in fs::read_dir(file(".github/workflows")).expect("the folder") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("the file");
        let path = path.display();
        for line in text.lines() {
            let line = line.trim_start_matches([' ', '-']);
            if let Some(action) = line.strip_prefix("uses: ") {
                assert!(action.starts_with("./") || pinned.is_match(action), "{path}: {action}");
            }
        }
        let workflow: Value = serde_saphyr::from_str(&text).expect("YAML");
        assert_eq!(workflow["permissions"], json!({}), "{path}");
        assert!(workflow["concurrency"].is_object(), "{path}");
    }
}

fn archive(system: &str) -> String {
    format!("loadline-{system}.tar.gz")
}

/// The files that the scripts read, with a changelog that has this version.
fn copied() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let scripts = ["scripts/release/version", "scripts/release/notes"];
    for path in VERSIONED.iter().chain(&scripts) {
        let copy = folder.path().join(path);
        fs::create_dir_all(copy.parent().expect("a folder")).expect("created");
        fs::copy(file(path), copy).expect("copied");
    }
    let changelog = CHANGELOG.replace("VERSION", env!("CARGO_PKG_VERSION"));
    fs::write(folder.path().join("CHANGELOG.md"), changelog).expect("written");
    folder
}

/// What a script of the repository in a folder prints, or its error.
fn run(repository: &Path, script: &str, arguments: &[&str]) -> Result<String, String> {
    let program: PathBuf = repository.join("scripts/release").join(script);
    let output = Command::new(program).args(arguments).output().expect("the script starts");
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).expect("text"))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
