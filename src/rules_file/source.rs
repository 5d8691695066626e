//! Where rules are from, and what stands there now.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    Rules, Unusable,
    attempt::{Attempt, Prepared},
    config_maps,
};
use crate::core::{
    explain::facts::BrokenRule,
    rules::{FileName, RuleSet},
    rules_files::{Given, Requirements, RulesFiles, Update},
    yaml,
};

/// The most files of a folder that are read.
const MAX_FILES: usize = 500;

/// The most bytes that the files of a folder may have together.
const MAX_BYTES: usize = 16 << 20;

/// How long a start waits for a folder that is just being changed.
const SETTLED: Duration = Duration::from_millis(500);

/// What `--config` names.
#[derive(Clone, Debug)]
pub enum ConfigPath {
    /// A rules file.
    File(PathBuf),
    /// A folder of rules files. Folders in it are not read.
    Folder(PathBuf),
}

impl ConfigPath {
    /// Finds out what stands at a path. What does not exist is taken for a file.
    pub fn new(path: &Path) -> Self {
        if path.is_dir() { Self::Folder(path.to_owned()) } else { Self::File(path.to_owned()) }
    }

    /// The path.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Folder(path) => path,
        }
    }

    /// Reads the files for somebody who needs all of them.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or there is none.
    pub fn read_all(&self) -> Result<Vec<Given>, String> {
        let files = self.read_some()?;
        match files.iter().find_map(|file| Some((&file.location, file.text.as_ref().err()?))) {
            Some((location, why)) => Err(format!("{location}: {why}")),
            None => Ok(files),
        }
    }

    /// Reads the files, of which some may not be readable.
    ///
    /// # Errors
    ///
    /// The folder cannot be read, or has no file.
    pub fn read_some(&self) -> Result<Vec<Given>, String> {
        let files = self.read(&BTreeMap::new())?;
        if files.is_empty() {
            let path = self.path().display();
            return Err(format!("{path}: the folder has no *.yaml, *.yml or *.json"));
        }
        Ok(files)
    }

    /// Reads the files at the start, once more after a pause if one is not there. Kubernetes removes a key of a mounted ConfigMap before
    /// the link to it, and a start in between is not to fail.
    fn read_first(&self, pause: impl FnOnce()) -> Result<Vec<Given>, String> {
        let files = self.read(&BTreeMap::new())?;
        let is_missing = |file: &Given| file.text.is_err() && !Path::new(&*file.location).exists();
        if matches!(self, Self::Folder(_)) && files.iter().any(is_missing) {
            pause();
            return self.read(&BTreeMap::new());
        }
        Ok(files)
    }

    /// Reads the files. Of too many, or too large ones, those stay that are `known`, with so many bytes: who comes or grows later takes
    /// no room of files in use.
    ///
    /// # Errors
    ///
    /// The folder cannot be read. A file that cannot be read is among the files.
    pub fn read(&self, known: &BTreeMap<Arc<str>, usize>) -> Result<Vec<Given>, String> {
        match self {
            Self::File(path) => {
                let text = text(path, yaml::MAX_BYTES);
                Ok(vec![given(FileName::Config, path, text)])
            }
            Self::Folder(path) => folder(path, known)
                .map_err(|error| format!("{}: cannot be read: {error}", path.display())),
        }
    }
}

fn folder(path: &Path, known: &BTreeMap<Arc<str>, usize>) -> io::Result<Vec<Given>> {
    let mut entries = Vec::new();
    let mut left = MAX_BYTES;
    for entry in fs::read_dir(path)? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if FileName::is_rules_file(&name) {
            let (size, own) = (size(&path.join(&name)), known.get(name.as_str()).copied());
            // What a file in use has is its own, whatever others become.
            left = left.saturating_sub(own.unwrap_or(0));
            let has_grown = size.as_ref().is_ok_and(|size| own.is_some_and(|own| *size > own));
            entries.push(((own.is_none(), has_grown), name, own.unwrap_or(0), size));
        }
    }
    // What shrinks makes room for what grows, and what is new comes last.
    entries.sort_by(|(turn, name, ..), (other, other_name, ..)| {
        (turn, name).cmp(&(other, other_name))
    });
    let mut files = Vec::new();
    for (_, name, own, size) in entries {
        let path = path.join(&name);
        let is_full = files.len() == MAX_FILES;
        let room = left + own;
        let read = if is_full {
            Err(io::Error::other(format!("a folder may have {MAX_FILES} rules files")))
        } else {
            size.and_then(|_| text(&path, room.min(yaml::MAX_BYTES)))
        };
        let too_much = format!("the files of the folder have more than {MAX_BYTES} bytes together");
        let read = match read {
            Ok(text) if text.len() > room => Err(io::Error::other(too_much)),
            read => read,
        };
        if let Ok(text) = &read {
            left = room - text.len();
        }
        files.push(given(FileName::InFolder(name.into()), &path, read));
        if is_full {
            // It stands for all that have no room.
            break;
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// How many bytes a file has. Fails for what is no file: to open it may take for ever.
fn size(path: &Path) -> io::Result<usize> {
    let metadata = fs::metadata(path)?;
    if metadata.is_file() {
        Ok(usize::try_from(metadata.len()).unwrap_or(usize::MAX))
    } else {
        Err(io::Error::other("it is not a file"))
    }
}

/// The text of a file. One that is too long is cut where that shows.
fn text(path: &Path, most: usize) -> io::Result<String> {
    text_of(&mut fs::File::open(path)?, most)
}

/// What is read, as text. One that is too long is cut where that shows.
///
/// # Errors
///
/// It cannot be read, or is no UTF-8.
pub fn text_of(source: &mut dyn Read, most: usize) -> io::Result<String> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    source.take(limit).read_to_end(&mut bytes)?;
    let encoding = match bytes.as_slice() {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "it is in UTF-16, and UTF-8 is expected",
        _ => "it is not in UTF-8",
    };
    String::from_utf8(bytes).map_err(|_error| io::Error::new(io::ErrorKind::InvalidData, encoding))
}

fn given(name: FileName, path: &Path, text: io::Result<String>) -> Given {
    Given {
        name,
        location: path.display().to_string().into(),
        text: text.map(Arc::from).map_err(|error| format!("cannot be read: {error}")),
    }
}

/// Where the rules are from.
pub struct Source {
    /// What `--config` names, if it is given.
    pub config: Option<ConfigPath>,
    /// The ConfigMaps that are rules files, too, if any are.
    pub config_maps: Option<config_maps::Settings>,
    /// What has been read.
    pub(super) files: RulesFiles,
    /// What the path had then.
    pub(super) content: Option<Vec<Given>>,
    /// The rules that are not in use.
    broken: Vec<BrokenRule>,
    /// What is known of texts that cannot be worked on.
    pub(super) attempt: Attempt,
    /// Whether a rule that does not compile keeps its file from being used.
    pub is_strict: bool,
    /// Notified when the files are to be read now.
    pub asked: Arc<Notify>,
}

impl Source {
    /// Reads the files of a path for the first time. What is left out, or odd and no error, goes to the log.
    ///
    /// # Errors
    ///
    /// The path has no file that can be used; or one of several cannot, and all of them are required.
    pub fn read(
        path: Option<&Path>,
        config_maps: Option<config_maps::Settings>,
        requirements: Requirements,
        asked: Arc<Notify>,
    ) -> Result<(RuleSet, Self), Unusable> {
        let Requirements { is_strict, serves_teams } = requirements;
        let config = path.map(ConfigPath::new);
        let pause = || thread::sleep(SETTLED);
        let content = config.as_ref().map(|config| config.read_first(pause)).transpose();
        let refused = |why: String| Unusable(vec![format!("--config: {why}")]);
        let content = content.map_err(refused)?;
        match content.as_deref() {
            Some([]) => {
                let path = path.unwrap_or(Path::new("")).display();
                return Err(refused(format!("{path}: the folder has no *.yaml, *.yml or *.json")));
            }
            Some([Given { location, text: Err(why), .. }]) => {
                return Err(refused(format!("{location}: {why}")));
            }
            _ => {}
        }
        let given = content.clone().unwrap_or_default();
        let (none, mut attempt) = (RulesFiles::new(requirements), Attempt::default());
        let prepare = |given| Prepared::new(&none, given, &RuleSet::default());
        let Prepared { update, broken, .. } =
            attempt.make(&none, &given, prepare).map_err(|panic| Unusable(vec![panic]))?;
        let Update { files, rules, findings, .. } = update;
        let problems: Vec<_> = files.problems().collect();
        let is_any_used = files.current().any(|(_, is_current)| is_current);
        let is_refused = !problems.is_empty() && (is_strict || !is_any_used);
        let unusable = files.unusable().next().filter(|_| serves_teams && !is_refused);
        let why = unusable.map(|file| {
            format!("--team-rules: every file of --config has to be usable at the start, because each may say what teams may do: {file} is not")
        });
        if is_refused || why.is_some() {
            let lines = problems.into_iter().flat_map(|file| file.lines);
            return Err(Unusable(lines.chain(why).collect()));
        }
        super::log_problems(&problems, &[]);
        super::log_findings(&findings);
        let broken = broken.unwrap_or_default();
        let source =
            Self { config, config_maps, files, content, broken, attempt, is_strict, asked };
        Ok((rules.unwrap_or_default(), source))
    }

    /// Rules that have been read, with what is wrong with the files.
    #[must_use]
    pub fn told(&self, rules: Rules) -> Rules {
        rules.told(&self.files, self.broken.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(series: &str) -> String {
        format!(
            "externalRules: [{{seriesQuery: '{series}', resources: {{namespaced: false}}, metricsQuery: '{series}'}}]\n"
        )
    }

    fn folder_of(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn start(folder: &Path, requirements: Requirements) -> Result<RuleSet, Unusable> {
        Source::read(Some(folder), None, requirements, Arc::default()).map(|(rules, _)| rules)
    }

    const STRICT: Requirements = Requirements { is_strict: true, serves_teams: false };
    const OF_TEAMS: Requirements = Requirements { is_strict: false, serves_teams: true };

    #[test]
    fn with_rules_of_teams_no_file_that_may_limit_them_is_left_out() {
        let (good, broken) = (rule("a"), "teamRules: {namespaceLabel: ns}\nrulez: []\n");
        let folder = folder_of(&[("a.yaml", &good), ("teams.yaml", broken)]);
        assert_eq!(start(folder.path(), Requirements::default()).unwrap().external.len(), 1);
        let Unusable(lines) = start(folder.path(), OF_TEAMS).unwrap_err();
        assert!(lines[0].contains("teams.yaml:2:"), "{lines:?}");
        assert!(lines.last().unwrap().contains("--team-rules"), "{lines:?}");
        fs::write(folder.path().join("teams.yaml"), "teamRules: {namespaceLabel: ns}\n").unwrap();
        let rules = start(folder.path(), OF_TEAMS).unwrap();
        assert_eq!(&*rules.teams.namespace_label, "ns");
    }

    #[test]
    fn with_rules_of_teams_what_is_called_like_a_file_has_to_be_one() {
        let folder = folder_of(&[("a.yaml", &rule("a"))]);
        let path = folder.path().join("teams.yaml");
        for what in ["a link", "a folder", "an empty file"] {
            let made = match what {
                "a link" => std::os::unix::fs::symlink("nowhere", &path),
                "a folder" => fs::create_dir(&path),
                _ => fs::write(&path, "\n"),
            };
            made.unwrap();
            assert_eq!(start(folder.path(), Requirements::default()).unwrap().external.len(), 1);
            let Unusable(lines) = start(folder.path(), OF_TEAMS).unwrap_err();
            assert!(lines.iter().any(|line| line.contains("teams.yaml")), "{lines:?}");
            if fs::remove_file(&path).is_err() {
                fs::remove_dir(&path).unwrap();
            }
        }
        assert!(start(folder.path(), OF_TEAMS).is_ok());
    }

    #[test]
    fn a_link_that_goes_after_its_file_does_not_end_the_start() {
        fn never() {
            panic!("what is there does not go by itself");
        }
        let folder = folder_of(&[("a.yaml", &rule("a"))]);
        let link = folder.path().join("b.yaml");
        let path = ConfigPath::new(folder.path());
        let read = |pause: &dyn Fn()| unread(&path.read_first(pause).unwrap());
        assert_eq!(read(&never), [""; 0]);
        std::os::unix::fs::symlink("..data/b.yaml", &link).unwrap();
        assert_eq!(read(&|| ()), ["b.yaml"]);
        assert_eq!(read(&|| fs::remove_file(&link).unwrap()), [""; 0]);
        fs::create_dir(&link).unwrap();
        assert_eq!(read(&never), ["b.yaml"]);
    }

    /// The names of the files that are not read.
    fn unread(files: &[Given]) -> Vec<String> {
        let unread = files.iter().filter(|file| file.text.is_err());
        unread.map(|file| file.name.to_string()).collect()
    }

    #[test]
    fn of_too_many_files_those_stay_that_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| fs::write(folder.path().join(name), "rules: []\n").unwrap();
        for n in 1..MAX_FILES {
            write(&format!("{n:03}.yaml"));
        }
        write("zz.yaml");
        let path = ConfigPath::new(folder.path());
        let before = path.read(&BTreeMap::new()).unwrap();
        assert_eq!((before.len(), unread(&before)), (MAX_FILES, Vec::new()));
        write("000.yaml");
        let files = RulesFiles::default().update(before).files;
        let after = path.read(&files.in_folder()).unwrap();
        assert_eq!((after.len(), unread(&after)), (MAX_FILES + 1, vec!["000.yaml".to_owned()]));
        assert!(after.is_sorted_by(|a, b| a.name < b.name));
        // A start does not know which one came last.
        for requirements in [STRICT, OF_TEAMS] {
            let Unusable(lines) = start(folder.path(), requirements).unwrap_err();
            assert!(lines[0].contains("zz.yaml"), "{lines:?}");
        }
        let read = Source::read(Some(folder.path()), None, Requirements::default(), Arc::default());
        let (rules, source) = read.unwrap();
        let problem = source.told(Rules::new(rules)).problem().unwrap();
        assert!(problem.0[0].contains("zz.yaml"), "{problem}");
    }

    #[test]
    fn who_comes_later_takes_no_bytes_of_files_in_use() {
        let large = "#".repeat(yaml::MAX_BYTES - 1);
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| fs::write(folder.path().join(name), &large).unwrap();
        let most = MAX_BYTES / large.len();
        for n in 0..most {
            write(&format!("m{n}.yaml"));
        }
        let path = ConfigPath::new(folder.path());
        let mut files = RulesFiles::default();
        files = files.update(path.read(&files.in_folder()).unwrap()).files;
        write("a.yaml");
        for _ in 0..2 {
            let read = path.read(&files.in_folder()).unwrap();
            assert_eq!(unread(&read), ["a.yaml"]);
            files = files.update(read).files;
        }
    }

    #[test]
    fn who_grows_takes_no_bytes_of_files_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: usize| {
            fs::write(folder.path().join(name), "#".repeat(bytes)).unwrap();
        };
        let (size, mib) = (yaml::MAX_BYTES - (1 << 20), 1 << 20);
        let most = MAX_BYTES / size;
        for n in 0..most {
            write(&format!("m{n}.yaml"), size);
        }
        write("z.yaml", MAX_BYTES - most * size);
        let path = ConfigPath::new(folder.path());
        let mut files = RulesFiles::default();
        let mut unread_now = || {
            let read = path.read(&files.in_folder()).unwrap();
            let names = unread(&read);
            files = files.clone().update(read).files;
            names
        };
        assert_eq!(unread_now(), [""; 0]);
        // It keeps what it had, which nobody else gets.
        write("m0.yaml", size + mib);
        write("a.yaml", 1);
        for _ in 0..2 {
            assert_eq!(unread_now(), ["a.yaml", "m0.yaml"]);
        }
        // What another one gives up is taken at once.
        write(&format!("m{}.yaml", most - 1), size - mib - 1);
        assert_eq!(unread_now(), [""; 0]);
    }
}
