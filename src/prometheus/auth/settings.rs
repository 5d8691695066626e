//! What the flags or a rules file say of the credentials of a backend.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::super::{config::Source, confined::Confined};
use crate::core::rules::Auth;

/// How a backend is authenticated to, and where the files are that it names.
#[derive(Clone, Debug)]
pub struct AuthSettings {
    pub(super) auth: Auth,
    /// The folders that the files are confined to, if a rules file names them.
    folders: Option<Arc<[PathBuf]>>,
}

impl AuthSettings {
    /// What the operator says.
    pub fn of_flags(auth: Auth) -> Self {
        Self { auth, folders: None }
    }

    /// What a rules file says: its files are below one of the folders.
    pub(in crate::prometheus) fn confined(auth: Auth, folders: &Arc<[PathBuf]>) -> Self {
        Self { auth, folders: Some(Arc::clone(folders)) }
    }

    pub(super) fn source(&self, path: &Path) -> Source {
        match &self.folders {
            Some(folders) => Source::Confined(Confined::new(path.to_owned(), folders)),
            None => Source::file(path),
        }
    }

    /// The credentials that are the content of files: user and password, or a token. The others are fetched.
    pub(in crate::prometheus) fn static_credentials(&self) -> Option<StaticCredentials> {
        match &self.auth {
            Auth::Basic { username, password_file } => {
                Some(StaticCredentials::Basic(username.clone(), self.source(password_file)))
            }
            Auth::Bearer { token_file } => Some(StaticCredentials::Bearer(self.source(token_file))),
            Auth::SigV4(_) | Auth::Entra(_) | Auth::Google(_) | Auth::OAuth2(_) => None,
        }
    }
}

/// Credentials that are the content of a file.
pub(in crate::prometheus) enum StaticCredentials {
    /// A user, and the password.
    Basic(String, Source),
    /// A token.
    Bearer(Source),
}
