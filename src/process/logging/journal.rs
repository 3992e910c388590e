//! The journal's native protocol (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>): an event becomes a datagram, which the log's
//! thread sends.
//!
//! What a reader would get wrong: a datagram that is too large for the socket goes as a sealed memory file instead, and the
//! journal takes none that is not sealed.

use std::{
    fmt, io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::io::Errno;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

use super::queue::{Queue, Sink};

/// Where the journal listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";
/// What a field's name begins with, unless the journal knows it.
const PREFIX: &str = "F_";

/// Makes datagrams of events.
#[derive(Debug)]
pub(super) struct Entries(pub(super) Arc<Queue>);

impl<S: Subscriber> Layer<S> for Entries {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.0.push(entry(event));
    }
}

fn entry(event: &Event<'_>) -> Vec<u8> {
    let metadata = event.metadata();
    let mut fields = Fields(Vec::with_capacity(512));
    fields.add("PRIORITY", priority(*metadata.level()));
    fields.add("TARGET", metadata.target());
    if let Some(file) = metadata.file() {
        fields.add("CODE_FILE", file);
    }
    if let Some(line) = metadata.line() {
        fields.add("CODE_LINE", &line.to_string());
    }
    fields.add("SYSLOG_IDENTIFIER", "wskeeper");
    event.record(&mut fields);
    fields.0
}

/// `notice` for what is told in the ordinary course of things, as systemd's own units have it.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "5",
        Level::DEBUG => "6",
        Level::TRACE => "7",
    }
}

/// Fields in the form that may hold any byte: a name, a length, a value.
struct Fields(Vec<u8>);

impl Fields {
    fn add(&mut self, name: &str, value: &str) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b'\n');
        self.0.extend_from_slice(&(value.len() as u64).to_le_bytes());
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(&name(field.name()), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(&name(field.name()), &format!("{value:?}"));
    }
}

/// The journal takes capitals, digits and underscores, and keeps names that begin with one to itself.
fn name(field: &str) -> String {
    if field == "message" {
        return "MESSAGE".into();
    }
    let letters = field.chars().map(|char| if char == '.' { '_' } else { char.to_ascii_uppercase() });
    let letters = letters.filter(|char| char.is_ascii_alphanumeric() || *char == '_');
    PREFIX.chars().chain(letters.skip_while(|char| *char == '_')).collect()
}

/// Sends datagrams to the journal.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// Fails where nobody listens.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // Each datagram names the path anew, so a journal that makes its socket again is found; this is only to look.
        UnixDatagram::unbound()?.connect(path)?;
        Ok(Self { socket, path: path.to_owned() })
    }

    #[cfg(target_os = "linux")]
    fn send_as_file(&self, entry: &[u8]) -> io::Result<()> {
        use std::{
            fs,
            io::{IoSlice, Write as _},
            os::fd::{AsFd as _, OwnedFd},
        };

        use rustix::{
            fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
            net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr},
        };
        let file = memfd_create("wskeeper-log", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut file = fs::File::from(file);
        file.write_all(entry)?;
        let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        fcntl_add_seals(&file, seals)?;
        let file = OwnedFd::from(file);
        let files = [file.as_fd()];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&files));
        let address = SocketAddrUnix::new(&self.path)?;
        sendmsg_addr(&self.socket, &address, &[IoSlice::new(&[])], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// There is no journal elsewhere, and no memory file that can be sealed.
    #[cfg(not(target_os = "linux"))]
    fn send_as_file(&self, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Sink for Journal {
    fn write(&mut self, entry: &[u8]) -> io::Result<()> {
        match self.socket.send_to(entry, &self.path) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::MSGSIZE) => self.send_as_file(entry),
            sent => sent.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, io::Read as _, mem::MaybeUninit, os::fd::OwnedFd};

    use rustix::{
        fs::SealFlags,
        net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
    };
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// The fields of an entry.
    fn read(mut entry: &[u8]) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        while !entry.is_empty() {
            let end = entry.iter().position(|byte| *byte == b'\n').unwrap();
            let (name, rest) = entry.split_at(end);
            let length = usize::try_from(u64::from_le_bytes(rest[1..9].try_into().unwrap())).unwrap();
            assert_eq!(rest[9 + length], b'\n');
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            fields.insert(text(name), text(&rest[9..9 + length]));
            entry = &rest[10 + length..];
        }
        fields
    }

    /// A journal, and the writer to it.
    fn journal(folder: &Path) -> (UnixDatagram, Journal) {
        let path = folder.join("socket");
        let listener = UnixDatagram::bind(&path).unwrap();
        (listener, Journal::at(&path).unwrap())
    }

    #[test]
    fn an_event_is_an_entry_with_the_journals_own_names() {
        let folder = tempfile::tempdir().unwrap();
        let (listener, journal) = journal(folder.path());
        let queue = Arc::<Queue>::default();
        let writer = Arc::clone(&queue);
        std::thread::spawn(move || writer.run(journal, |_| ()));
        let subscriber = tracing_subscriber::registry().with(Entries(queue));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(endpoint = "trades", link = 1, http.status = 503, "two\nlines");
        });
        let mut buffer = [0; 4096];
        let length = listener.recv(&mut buffer).unwrap();
        let fields = read(&buffer[..length]);
        let line = fields["CODE_LINE"].clone();
        let wanted = [
            ("PRIORITY", "4"),
            ("TARGET", module_path!()),
            ("CODE_FILE", file!()),
            ("CODE_LINE", &line),
            ("SYSLOG_IDENTIFIER", "wskeeper"),
            ("MESSAGE", "two\nlines"),
            ("F_ENDPOINT", "trades"),
            ("F_LINK", "1"),
            ("F_HTTP_STATUS", "503"),
        ];
        assert_eq!(fields, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn what_is_too_large_for_a_datagram_is_passed_as_a_sealed_file() {
        let folder = tempfile::tempdir().unwrap();
        let (listener, mut journal) = journal(folder.path());
        let mut fields = Fields(Vec::new());
        fields.add("MESSAGE", &"x".repeat(3 << 20));
        journal.write(&fields.0).unwrap();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(&listener, &mut [], &mut control, RecvFlags::empty()).unwrap();
        assert_eq!(received.bytes, 0);
        let files: Vec<OwnedFd> = control
            .drain()
            .flat_map(|message| match message {
                RecvAncillaryMessage::ScmRights(files) => files.collect(),
                _ => Vec::new(),
            })
            .collect();
        let [file] = <[OwnedFd; 1]>::try_from(files).unwrap();
        assert!(rustix::fs::fcntl_get_seals(&file).unwrap().contains(SealFlags::WRITE));
        let mut entry = Vec::new();
        let mut file = fs::File::from(file);
        io::Seek::rewind(&mut file).unwrap();
        file.read_to_end(&mut entry).unwrap();
        assert_eq!(entry, fields.0);
    }

    #[test]
    fn a_journal_that_nobody_listens_on_is_none() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Journal::at(&folder.path().join("socket")).is_err());
    }
}
