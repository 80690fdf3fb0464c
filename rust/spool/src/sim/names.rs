//! Changes of names: durable with their folder's sync, each by itself.

use std::collections::BTreeMap;

/// One change of names; durable with its folder's sync, each by itself.
#[derive(Debug, Clone)]
pub enum NameChange {
    Set { name: String, file: u64 },
    Remove { name: String },
    Rename { from: String, to: String, file: u64 },
}

impl NameChange {
    pub fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Set { name, file } => {
                names.insert(name.clone(), *file);
            }
            Self::Remove { name } => {
                names.remove(name);
            }
            Self::Rename { from, to, file } => {
                if names.get(from) == Some(file) {
                    names.remove(from);
                }
                names.insert(to.clone(), *file);
            }
        }
    }

    pub fn touches(&self, folder: &str) -> bool {
        match self {
            Self::Set { name, .. } | Self::Remove { name } => folder_of(name) == folder,
            Self::Rename { from, to, .. } => folder_of(from) == folder || folder_of(to) == folder,
        }
    }
}

pub fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}
