//! Local delivery into Maildir folders: tmp, sync, rename into new, sync of the folder, and only then settled.
//!
//! The file's name is the recipient's public id, so that a repeat replaces instead of doubling. Lines end LF.
//! `Return-Path` and `Delivered-To` stand in front, as final delivery writes them (RFC 5321 4.4). Messages that
//! come together share the sync of the folder. Everything here blocks: it runs on the pool for blocking work.
//! What fails is an [`io::Error`] for the file it struck; a temporary file never stays behind.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use angarium_nouns::id::RecipientId;

/// Bytes read from a body file and written at once.
const BLOCK: usize = 256 * 1024;
/// Mail is for its owner only.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// The body of a letter: in memory, or read as it is written.
pub enum Source<'a> {
    Memory(&'a [u8]),
    Stream(&'a mut dyn Read),
}

/// One message for one mailbox.
pub struct Letter<'a> {
    pub id: RecipientId,
    /// Envelope sender, empty for the null path.
    pub sender: &'a str,
    pub recipient: &'a str,
    /// Header lines to stand in front, each with CRLF.
    pub front: &'a [u8],
    pub body: Source<'a>,
}

/// A Maildir that letters are put into; [`Folder::publish`] makes them appear.
pub struct Folder {
    root: PathBuf,
    written: Vec<(RecipientId, File)>,
}

impl Folder {
    /// Opens the folder, making it (and what is above it) when it is not there.
    pub fn open(root: &Path) -> io::Result<Self> {
        for part in ["tmp", "new", "cur"] {
            let path = root.join(part);
            if !path.is_dir() {
                DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&path)?;
                sync_folder(root)?;
                root.parent().map_or(Ok(()), sync_folder)?;
            }
        }
        Ok(Self { root: root.to_owned(), written: Vec::new() })
    }

    /// Writes one letter in `tmp`. It is not delivered before [`Folder::publish`] returns.
    pub fn write(&mut self, letter: Letter<'_>) -> io::Result<()> {
        let id = letter.id;
        let path = self.temporary(id);
        match write_letter(&path, letter) {
            Ok(file) => {
                self.written.push((id, file));
                Ok(())
            }
            Err(error) => {
                let _ = fs::remove_file(&path);
                Err(error)
            }
        }
    }

    /// Syncs what was written, renames it into `new` and syncs that folder once. The first sync carries most of
    /// the others (one transaction of the file system), so all writes come before all syncs.
    pub fn publish(mut self) -> io::Result<()> {
        self.written.iter().try_for_each(|(_, file)| file.sync_all())?;
        while let Some((id, _)) = self.written.last() {
            fs::rename(self.temporary(*id), self.root.join("new").join(id.to_string()))?;
            self.written.pop();
        }
        sync_folder(&self.root.join("new"))
    }

    fn temporary(&self, id: RecipientId) -> PathBuf {
        self.root.join("tmp").join(id.to_string())
    }
}

impl Drop for Folder {
    /// What was never published leaves nothing behind.
    fn drop(&mut self) {
        for (id, _) in &self.written {
            let _ = fs::remove_file(self.temporary(*id));
        }
    }
}

fn write_letter(path: &Path, letter: Letter<'_>) -> io::Result<File> {
    let mut lines = UnixLines {
        file: OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(path)?,
        cr: false,
    };
    let mut front = Vec::with_capacity(256 + letter.front.len());
    write!(front, "Return-Path: <{}>\r\nDelivered-To: {}\r\n", letter.sender, letter.recipient)?;
    front.extend_from_slice(letter.front);
    match letter.body {
        Source::Memory(body) if front.len() + body.len() <= BLOCK => {
            front.extend_from_slice(body);
            lines.write(front)?;
        }
        Source::Memory(body) => {
            lines.write(front)?;
            body.chunks(BLOCK).try_for_each(|block| lines.write(block.to_vec()))?;
        }
        Source::Stream(body) => {
            lines.write(front)?;
            while let Some(block) = read_block(body)? {
                lines.write(block)?;
            }
        }
    }
    lines.finish()
}

fn read_block(body: &mut dyn Read) -> io::Result<Option<Vec<u8>>> {
    let mut block = Vec::with_capacity(BLOCK);
    body.take(BLOCK as u64).read_to_end(&mut block)?;
    Ok((!block.is_empty()).then_some(block))
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Turns CRLF into LF on the way to the file, also where a block ends between the two.
struct UnixLines {
    file: File,
    /// The last block ended in a CR that is not written yet.
    cr: bool,
}

impl UnixLines {
    fn write(&mut self, mut block: Vec<u8>) -> io::Result<()> {
        if std::mem::take(&mut self.cr) && block.first() != Some(&b'\n') {
            self.file.write_all(b"\r")?;
        }
        self.cr = block.last() == Some(&b'\r');
        strip_carriage_returns(&mut block);
        self.file.write_all(&block)
    }

    fn finish(mut self) -> io::Result<File> {
        if self.cr {
            self.file.write_all(b"\r")?;
        }
        Ok(self.file)
    }
}

/// Removes every CR before an LF, and one at the very end (the caller keeps that one).
fn strip_carriage_returns(block: &mut Vec<u8>) {
    let (mut read, mut written) = (0, 0);
    while let Some(at) = memchr::memchr(b'\r', &block[read..]).map(|at| read + at) {
        let keep = usize::from(block.get(at + 1).is_some_and(|&next| next != b'\n'));
        block.copy_within(read..at + keep, written);
        written += at + keep - read;
        read = at + 1;
    }
    block.copy_within(read.., written);
    written += block.len() - read;
    block.truncate(written);
}

#[cfg(test)]
mod tests {
    use super::*;
    use angarium_nouns::id::MessageId;
    use proptest::prelude::*;

    fn convert(text: &[u8], cut: usize) -> Vec<u8> {
        let path = std::env::temp_dir().join(format!("delivery-lines-{}-{cut}", std::process::id()));
        let mut lines = UnixLines { file: File::create(&path).unwrap(), cr: false };
        for block in text.chunks(cut.max(1)) {
            lines.write(block.to_vec()).unwrap();
        }
        lines.finish().unwrap();
        let read = fs::read(&path).unwrap();
        fs::remove_file(path).unwrap();
        read
    }

    proptest! {
        #[test]
        fn strips_like_the_plain_way(text in "[ab\r\n]{0,40}") {
            let mut block = text.clone().into_bytes();
            strip_carriage_returns(&mut block);
            let want = text.replace("\r\n", "\n");
            let want = want.strip_suffix('\r').unwrap_or(&want);
            prop_assert_eq!(String::from_utf8(block).unwrap(), want);
        }
    }

    #[test]
    fn blocks_may_end_anywhere() {
        let text = b"a\r\nb\r\r\n\r\nc\rd\r\n\r";
        for cut in 1..text.len() {
            assert_eq!(convert(text, cut), b"a\nb\r\n\nc\rd\n\r", "cut at {cut}");
        }
    }

    #[test]
    fn delivers_replaces_and_cleans_up() {
        let root = std::env::temp_dir().join(format!("delivery-maildir-{}", std::process::id()));
        let letter = |number, body| Letter {
            id: RecipientId { message: MessageId(7), number },
            sender: "a@b.example",
            recipient: "c@d.example",
            front: b"X-One: 1\r\n",
            body: Source::Memory(body),
        };
        for body in [&b"Subject: old\r\n\r\nold\r\n"[..], b"Subject: x\r\n\r\nhello\r\n"] {
            let mut folder = Folder::open(&root).unwrap();
            folder.write(letter(0, body)).unwrap();
            folder.write(letter(1, body)).unwrap();
            folder.publish().unwrap();
        }
        let mut folder = Folder::open(&root).unwrap();
        folder.write(letter(2, b"lost")).unwrap();
        drop(folder);
        let name = RecipientId { message: MessageId(7), number: 1 }.to_string();
        let text = fs::read_to_string(root.join("new").join(name)).unwrap();
        assert_eq!(text, "Return-Path: <a@b.example>\nDelivered-To: c@d.example\nX-One: 1\nSubject: x\n\nhello\n");
        assert_eq!(fs::read_dir(root.join("new")).unwrap().count(), 2);
        assert_eq!(fs::read_dir(root.join("tmp")).unwrap().count(), 0);
        fs::remove_dir_all(root).unwrap();
    }
}
