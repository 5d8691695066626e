//! Where rules are from, and what stands there now.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::Notify;

use super::{Unusable, config_maps};
use crate::core::{
    rules::{FileName, RuleSet},
    rules_files::{Given, RulesFiles, Update},
    yaml,
};

/// The most files of a folder that are read.
const MAX_FILES: usize = 500;

/// The most bytes that the files of a folder may have together.
const MAX_BYTES: usize = 16 << 20;

/// What `--config` names.
#[derive(Clone, Debug)]
pub enum ConfigPath {
    /// A rules file.
    File(PathBuf),
    /// A folder of rules files. Folders in it are not read.
    Folder(PathBuf),
}

/// What a path has now.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Content {
    /// The files, in their order.
    pub files: Vec<Given>,
    /// Why some are left out.
    pub problem: Option<String>,
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
    /// The path cannot be read, has no file, or has too many.
    pub fn read_all(&self) -> Result<Vec<Given>, String> {
        let Content { files, problem } = self.read()?;
        match problem {
            Some(problem) => Err(problem),
            None if files.is_empty() => {
                let path = self.path().display();
                Err(format!("{path}: the folder has no *.yaml, *.yml or *.json"))
            }
            None => Ok(files),
        }
    }

    /// Reads the files.
    ///
    /// # Errors
    ///
    /// The folder cannot be read. A file that cannot be read is in the content.
    pub fn read(&self) -> Result<Content, String> {
        match self {
            Self::File(path) => {
                let text = text(path, yaml::MAX_BYTES);
                let files = vec![given(FileName::Config, path, text)];
                Ok(Content { files, problem: None })
            }
            Self::Folder(path) => {
                folder(path).map_err(|error| format!("{}: cannot be read: {error}", path.display()))
            }
        }
    }
}

fn folder(path: &Path) -> io::Result<Content> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        names.extend(name.to_str().filter(|name| FileName::is_rules_file(name)).map(str::to_owned));
    }
    names.sort_unstable();
    let mut content = Content::default();
    let mut left = MAX_BYTES;
    for name in names {
        let path = path.join(&name);
        // A link to nothing is left for a moment while Kubernetes replaces the files of a ConfigMap.
        let Some(is_file) = is_file(&path).transpose() else { continue };
        if content.files.len() == MAX_FILES {
            let shown = path.display();
            content.problem =
                Some(format!("{shown}: not read: a folder may have {MAX_FILES} rules files"));
            break;
        }
        let read = is_file.and_then(|()| text(&path, left.min(yaml::MAX_BYTES)));
        let too_much = format!("the files of the folder have more than {MAX_BYTES} bytes together");
        let read = match read {
            Ok(text) if text.len() > left => Err(io::Error::other(too_much)),
            read => read,
        };
        left -= read.as_ref().map_or(0, String::len);
        content.files.push(given(FileName::InFolder(name.into()), &path, read));
    }
    Ok(content)
}

/// Whether a path leads to a file; nothing if it leads nowhere, or to what is none.
fn is_file(path: &Path) -> io::Result<Option<()>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.is_file().then_some(())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The text of a file. One that is too long is cut where that shows.
fn text(path: &Path, most: usize) -> io::Result<String> {
    let mut text = String::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    fs::File::open(path)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
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
    pub(super) content: Option<Content>,
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
    /// The path has no file that can be used; or one of several cannot, and they are strict.
    pub fn read(
        path: Option<&Path>,
        config_maps: Option<config_maps::Settings>,
        is_strict: bool,
        asked: Arc<Notify>,
    ) -> Result<(RuleSet, Self), Unusable> {
        let config = path.map(ConfigPath::new);
        let content = config.as_ref().map(ConfigPath::read).transpose();
        let refused = |why: String| Unusable(vec![format!("--config: {why}")]);
        let content = content.map_err(refused)?;
        match content.as_ref().map(|content| content.files.as_slice()) {
            Some([]) => {
                let path = path.unwrap_or(Path::new("")).display();
                return Err(refused(format!("{path}: the folder has no *.yaml, *.yml or *.json")));
            }
            Some([Given { location, text: Err(why), .. }]) => {
                return Err(refused(format!("{location}: {why}")));
            }
            _ => {}
        }
        let given = content.clone().unwrap_or_default().files;
        let Update { files, rules, findings, .. } = RulesFiles::new(is_strict).update(given);
        let problems: Vec<_> = files.problems().collect();
        let is_any_used = files.current().any(|(_, is_current)| is_current);
        let is_usable = problems.is_empty() || (is_any_used && !is_strict);
        if !is_usable {
            return Err(Unusable(problems.into_iter().flat_map(|it| it.lines).collect()));
        }
        super::log_problems(&problems, &[]);
        super::log_findings(&findings);
        let source = Self { config, config_maps, files, content, is_strict, asked };
        Ok((rules.unwrap_or_default(), source))
    }

    /// What is known of the files.
    pub fn files(&self) -> &RulesFiles {
        &self.files
    }
}
