//! `angarium.message`: scans and parts over the bytes of any buffer, without a copy; reports and bounces as plain values.
//!
//! A scan holds the buffer it was made from, so a `bytearray` cannot be resized and a map not closed while it lives.
//! Nothing becomes a Python object before it is asked for.

// PyO3 hands arguments over by value.
#![allow(clippy::needless_pass_by_value)]

use std::sync::Arc;

use angarium_message::address::{self, Entry, Mailbox, diagnose};
use angarium_message::{Field, Header, Kind, Part, Tree, build, convert, date, findings, marks, rewrite, union, words};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBufferError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyMemoryView, PySlice, PyTuple};

/// The bytes of a message, lent by a Python object.
pub enum Lent {
    /// The usual case: nobody can change them, so they need no lock.
    Bytes(PyBackedBytes),
    /// Whatever else has bytes.
    Buffer { object: Py<PyAny>, buffer: PyBuffer<u8> },
}

impl Lent {
    pub fn new(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = object.cast_exact::<PyBytes>() {
            return Ok(Self::Bytes(PyBackedBytes::from(bytes.clone())));
        }
        let buffer = PyBuffer::<u8>::get(object)?;
        if !buffer.is_c_contiguous() {
            return Err(PyBufferError::new_err("the bytes of a message must lie behind one another"));
        }
        Ok(Self::Buffer { object: object.clone().unbind(), buffer })
    }

    #[allow(unsafe_code)]
    pub fn bytes(&self) -> &[u8] {
        let buffer = match self {
            Self::Bytes(bytes) => return bytes,
            Self::Buffer { buffer, .. } => buffer,
        };
        let length = buffer.item_count();
        if length == 0 {
            return &[];
        }
        // SAFETY: the buffer is held, contiguous and of single bytes, so the memory stays and is `length` long. A
        // writable exporter may change bytes only while the interpreter is ours to give away, and we do not give it
        // away while such a slice lives.
        unsafe { std::slice::from_raw_parts(buffer.buf_ptr().cast::<u8>(), length) }
    }

    fn view<'py>(&self, py: Python<'py>, range: std::ops::Range<usize>) -> PyResult<Bound<'py, PyAny>> {
        let view = match self {
            Self::Bytes(bytes) => PyMemoryView::from(bytes.into_pyobject(py)?.as_any())?,
            Self::Buffer { object, .. } => PyMemoryView::from(object.bind(py))?,
        };
        let slice = PySlice::new(py, range.start.cast_signed(), range.end.cast_signed(), 1);
        view.call_method1("cast", ("B",))?.get_item(slice)
    }
}

type Pair = (usize, usize);

fn pair(range: std::ops::Range<usize>) -> Pair {
    (range.start, range.end)
}

/// The ranges of a scanned header beside its bytes.
#[pyclass(frozen, module = "angarium._core")]
pub struct HeaderScan {
    data: Lent,
    fields: Vec<Field>,
    header_end: usize,
    body_start: usize,
    overflow: Option<String>,
}

/// Scans the header at the front of a message.
#[pyfunction]
#[pyo3(signature = (data, /))]
pub fn scan_header(data: &Bound<'_, PyAny>) -> PyResult<HeaderScan> {
    let data = Lent::new(data)?;
    let header = Header::scan(data.bytes());
    let (header_end, body_start) = (header.bytes().len(), header.body_start());
    let overflow = header.overflow().map(|bound| bound.to_string());
    let fields = header.into_fields();
    Ok(HeaderScan { data, fields, header_end, body_start, overflow })
}

impl HeaderScan {
    fn named<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Field> {
        self.fields.iter().filter(move |field| field.has_name(self.data.bytes(), name))
    }

    fn value_of<'py>(&self, py: Python<'py>, field: &Field) -> Bound<'py, PyBytes> {
        let data = self.data.bytes();
        PyBytes::new(py, &data[field.value_range(data)])
    }
}

#[pymethods]
impl HeaderScan {
    fn __len__(&self) -> usize {
        self.fields.len()
    }

    fn __contains__(&self, name: &str) -> bool {
        self.named(name).next().is_some()
    }

    fn value<'py>(&self, py: Python<'py>, name: &str) -> Option<Bound<'py, PyBytes>> {
        self.named(name).next().map(|field| self.value_of(py, field))
    }

    fn values<'py>(&self, py: Python<'py>, name: &str) -> Vec<Bound<'py, PyBytes>> {
        self.named(name).map(|field| self.value_of(py, field)).collect()
    }

    fn items<'py>(&self, py: Python<'py>) -> Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let data = self.data.bytes();
        let item = |field: &Field| (PyBytes::new(py, &data[field.name_range()]), self.value_of(py, field));
        self.fields.iter().map(item).collect()
    }

    #[getter]
    fn ranges(&self) -> Vec<(Pair, Pair)> {
        let data = self.data.bytes();
        self.fields.iter().map(|field| (pair(field.name_range()), pair(field.value_range(data)))).collect()
    }

    #[getter]
    fn received_count(&self) -> usize {
        self.named("Received").count()
    }

    #[getter]
    fn malformed_count(&self) -> usize {
        self.fields.iter().filter(|field| !field.is_named()).count()
    }

    #[getter]
    fn header_end(&self) -> usize {
        self.header_end
    }

    #[getter]
    fn body_start(&self) -> usize {
        self.body_start
    }

    #[getter]
    fn overflow(&self) -> Option<&str> {
        self.overflow.as_deref()
    }
}

/// A scanned message.
#[pyclass(frozen, module = "angarium._core")]
pub struct MessageScan {
    held: Arc<Held>,
}

struct Held {
    data: Lent,
    tree: Tree,
}

/// Scans a whole message.
#[pyfunction]
#[pyo3(signature = (data, /))]
pub fn scan_message(data: &Bound<'_, PyAny>) -> PyResult<MessageScan> {
    let data = Lent::new(data)?;
    let tree = Tree::scan(data.bytes());
    Ok(MessageScan { held: Arc::new(Held { data, tree }) })
}

impl MessageScan {
    fn part_at(&self, number: usize) -> MessagePart {
        MessagePart { held: self.held.clone(), number }
    }
}

#[pymethods]
impl MessageScan {
    #[getter]
    fn root(&self) -> MessagePart {
        self.part_at(0)
    }

    #[getter]
    fn parts(&self) -> Vec<MessagePart> {
        (0..self.held.tree.len()).map(|number| self.part_at(number)).collect()
    }

    fn __len__(&self) -> usize {
        self.held.tree.len()
    }

    /// The bounds at which the scan went no further, by name.
    #[getter]
    fn bounds(&self) -> Vec<&'static str> {
        self.held.tree.bounds().map(angarium_message::Bound::name).collect()
    }

    /// (kind, part, offset) of everything that readers take differently.
    #[getter]
    fn findings(&self) -> Vec<(&'static str, usize, usize)> {
        let found = findings::findings(&self.held.tree, self.held.data.bytes());
        found.into_iter().map(|one| (one.kind, one.part, one.at)).collect()
    }

    fn __repr__(&self) -> String {
        format!("<Scan of {} bytes in {} parts>", self.held.data.bytes().len(), self.held.tree.len())
    }

    fn __str__(&self) -> String {
        self.held.tree.outline(self.held.data.bytes())
    }
}

/// One part of a scanned message.
#[pyclass(frozen, module = "angarium._core")]
pub struct MessagePart {
    held: Arc<Held>,
    number: usize,
}

impl MessagePart {
    fn part(&self) -> Part<'_> {
        let Held { data, tree } = &*self.held;
        tree.part(data.bytes(), self.number).unwrap_or_else(|| tree.root(data.bytes()))
    }

    fn other(&self, part: &Part<'_>) -> MessagePart {
        MessagePart { held: self.held.clone(), number: part.number() }
    }
}

#[pymethods]
impl MessagePart {
    #[getter]
    fn number(&self) -> usize {
        self.number
    }

    #[getter]
    fn depth(&self) -> usize {
        self.part().depth()
    }

    #[getter]
    fn kind(&self) -> &'static str {
        match self.part().kind() {
            Kind::Leaf => "leaf",
            Kind::Multipart => "multipart",
            Kind::Message => "message",
        }
    }

    #[getter]
    fn parent(&self) -> Option<MessagePart> {
        self.part().parent().map(|part| self.other(&part))
    }

    #[getter]
    fn children(&self) -> Vec<MessagePart> {
        self.part().children().map(|part| self.other(&part)).collect()
    }

    #[getter]
    fn range(&self) -> Pair {
        pair(self.part().range())
    }

    #[getter]
    fn header_range(&self) -> Pair {
        pair(self.part().header_range())
    }

    #[getter]
    fn body_range(&self) -> Pair {
        pair(self.part().body_range())
    }

    #[getter]
    fn is_closed(&self) -> bool {
        self.part().is_closed()
    }

    #[getter]
    fn fields<'py>(&self, py: Python<'py>) -> Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let part = self.part();
        let item = |field: &Field| (PyBytes::new(py, part.name_of(field)), PyBytes::new(py, part.value_of(field)));
        part.fields().iter().map(item).collect()
    }

    #[getter]
    fn field_ranges(&self) -> Vec<(Pair, Pair, Pair)> {
        let data = self.held.data.bytes();
        let ranges = |field: &Field| (pair(field.range()), pair(field.name_range()), pair(field.value_range(data)));
        self.part().fields().iter().map(ranges).collect()
    }

    fn value<'py>(&self, py: Python<'py>, name: &str) -> Option<Bound<'py, PyBytes>> {
        self.part().value(name).map(|value| PyBytes::new(py, value))
    }

    fn values<'py>(&self, py: Python<'py>, name: &str) -> Vec<Bound<'py, PyBytes>> {
        let part = self.part();
        part.all(name).map(|field| PyBytes::new(py, part.value_of(field))).collect()
    }

    fn header(&self, name: &str) -> Option<String> {
        self.part().text_of(name)
    }

    fn addresses(&self, name: &str) -> Vec<(String, String)> {
        let part = self.part();
        let all = part.all(name).flat_map(|field| address::mailboxes(part.value_of(field)));
        all.map(|mailbox| (mailbox.name, mailbox.address)).collect()
    }

    #[getter]
    fn content_type(&self) -> String {
        self.part().content_type().name()
    }

    fn parameter(&self, name: &str) -> Option<String> {
        self.part().parameters().text(name)
    }

    #[getter]
    fn parameters(&self) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| words::decode(bytes);
        self.part().parameters().map(|one| (text(one.name).to_ascii_lowercase(), text(&one.value))).collect()
    }

    #[getter]
    fn charset(&self) -> Option<String> {
        self.part().charset().map(|label| String::from_utf8_lossy(&label).to_ascii_lowercase())
    }

    #[getter]
    fn encoding(&self) -> &'static str {
        self.part().encoding().name()
    }

    #[getter]
    fn disposition(&self) -> Option<String> {
        self.part().disposition()
    }

    #[getter]
    fn file_name(&self) -> Option<String> {
        self.part().file_name()
    }

    /// Every file name that some reader takes.
    #[getter]
    fn file_names(&self) -> Vec<String> {
        findings::file_names(&self.part())
    }

    /// The content as each of its encoding fields would have it.
    fn readings<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        findings::readings(&self.part()).iter().map(|content| PyBytes::new(py, content)).collect()
    }

    #[getter]
    fn content_id(&self) -> Option<String> {
        self.part().content_id()
    }

    #[getter]
    fn boundary<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.part().boundary().map(|boundary| PyBytes::new(py, &boundary))
    }

    #[getter]
    fn is_attachment(&self) -> bool {
        self.part().is_attachment()
    }

    #[getter]
    fn raw<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.held.data.view(py, self.part().range())
    }

    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.held.data.view(py, self.part().body_range())
    }

    fn decode<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.part().decode().bytes)
    }

    fn text(&self) -> String {
        self.part().text().text.into_owned()
    }

    #[getter]
    fn flaws(&self) -> Vec<&'static str> {
        let part = self.part();
        let flaws = if part.content_type().is("text") { part.text().flaws } else { part.decode().flaws };
        flaws.names().collect()
    }

    fn __repr__(&self) -> String {
        let part = self.part();
        let (start, end) = pair(part.range());
        format!("<Part {} {} at {start}..{end}>", self.number, part.content_type().name())
    }

    fn __str__(&self) -> String {
        self.held.tree.outline_of(self.held.data.bytes(), self.number)
    }
}

/// Unstructured text of a field: unfolded, encoded words decoded.
#[pyfunction]
pub fn message_text(value: &Bound<'_, PyAny>) -> PyResult<String> {
    Ok(words::decode(Lent::new(value)?.bytes().trim_ascii()))
}

/// `(None, name, address)` for a mailbox, `(name, [(name, address), ...], None)` for a group.
#[pyfunction]
pub fn message_addresses<'py>(py: Python<'py>, value: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyTuple>>> {
    let value = Lent::new(value)?;
    let two = |mailbox: Mailbox| (mailbox.name, mailbox.address);
    let entry = |entry| match entry {
        Entry::Mailbox(one) => (None::<String>, one.name, one.address).into_pyobject(py),
        Entry::Group { name, members } => {
            let members: Vec<_> = members.into_iter().map(two).collect();
            (name, members, None::<String>).into_pyobject(py)
        }
    };
    address::parse_list(value.bytes()).into_iter().map(entry).collect()
}

/// (name, class, offset) of the worst finding; `records`: `unknown`, `found`, `no-mx`, `none`.
#[pyfunction]
#[pyo3(signature = (address, records="unknown"))]
pub fn diagnose_address(address: &Bound<'_, PyAny>, records: &str) -> PyResult<(&'static str, &'static str, usize)> {
    let records = match records {
        "found" => diagnose::Records::Found,
        "no-mx" => diagnose::Records::NoMx,
        "none" => diagnose::Records::None,
        _ => diagnose::Records::Unknown,
    };
    let (found, at) = diagnose::diagnose(Lent::new(address)?.bytes(), records);
    Ok((found.name(), found.class().name(), at))
}

/// A mailbox written for a field.
#[pyfunction]
#[pyo3(signature = (name, address, *, utf8=false))]
pub fn write_mailbox(name: &str, address: &str, utf8: bool) -> String {
    address::write(name, address, utf8)
}

/// (file names, types, contents, whether some readings were not gone into) of everything that some reader sees.
#[pyfunction]
#[allow(clippy::type_complexity)]
pub fn message_readings<'py>(
    py: Python<'py>,
    data: &Bound<'py, PyAny>,
) -> PyResult<(Vec<String>, Vec<String>, Vec<Bound<'py, PyBytes>>, bool)> {
    let found = union::union(Lent::new(data)?.bytes());
    let contents = found.contents.iter().map(|content| PyBytes::new(py, content)).collect();
    Ok((found.file_names, found.types, contents, found.is_cut))
}

/// Why a program must not answer this message, or `None`.
#[pyfunction]
pub fn message_automatic(data: &Bound<'_, PyAny>) -> PyResult<Option<&'static str>> {
    Ok(marks::automatic(&Header::scan(Lent::new(data)?.bytes())))
}

/// (year, month, day, hour, minute, second, minutes east), or `None`.
#[pyfunction]
#[allow(clippy::type_complexity)]
pub fn parse_date(value: &Bound<'_, PyAny>) -> PyResult<Option<(u16, u8, u8, u8, u8, u8, i32)>> {
    let found = date::parse(Lent::new(value)?.bytes());
    Ok(found.map(|d| (d.year, d.month, d.day, d.hour, d.minute, d.second, d.zone)))
}

/// The message in 7 bits, `None` if it is that already; an obstacle by its text.
#[pyfunction]
pub fn seven_bit<'py>(py: Python<'py>, data: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let converted = convert::seven_bit(Lent::new(data)?.bytes());
    let converted = converted.map_err(|obstacle| PyValueError::new_err(obstacle.to_string()))?;
    Ok(converted.map(|bytes| PyBytes::new(py, &bytes)))
}

/// Builds a message; attachments are (file name, content type, content, content id).
#[pyfunction]
#[pyo3(signature = (*, sender, to, cc, subject, message_id, date, fields, text, html, attachments, boundary, utf8))]
#[allow(clippy::too_many_arguments)]
pub fn build_message<'py>(
    py: Python<'py>,
    sender: Vec<(String, String)>,
    to: Vec<(String, String)>,
    cc: Vec<(String, String)>,
    subject: &str,
    message_id: &str,
    date: u64,
    fields: Vec<(String, String)>,
    text: Option<&str>,
    html: Option<&str>,
    attachments: Vec<(String, String, Vec<u8>, String)>,
    boundary: &str,
    utf8: bool,
) -> Bound<'py, PyBytes> {
    let attachments = attachments.iter().map(|(file_name, content_type, content, content_id)| build::Attachment {
        file_name,
        content_type,
        content,
        content_id,
    });
    let draft = build::Draft {
        from: pairs(&sender),
        to: pairs(&to),
        cc: pairs(&cc),
        subject,
        message_id,
        date,
        fields: pairs(&fields),
        text,
        html,
        attachments: attachments.collect(),
        boundary,
        utf8,
    };
    PyBytes::new(py, &draft.write())
}

fn pairs(list: &[(String, String)]) -> Vec<(&str, &str)> {
    list.iter().map(|(one, other)| (&**one, &**other)).collect()
}

/// The message with changes: fields (name, whole field) replaced or added, names removed, a footer, links.
#[pyfunction]
#[pyo3(signature = (data, *, add, replace, remove, footer_text, footer_html, link))]
#[allow(clippy::too_many_arguments)]
pub fn rewrite_message<'py>(
    py: Python<'py>,
    data: &Bound<'py, PyAny>,
    add: Vec<Vec<u8>>,
    replace: Vec<(String, Vec<u8>)>,
    remove: Vec<String>,
    footer_text: &str,
    footer_html: &str,
    link: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyBytes>> {
    // Python code runs in between, so a writable buffer is copied.
    let data = Lent::new(data)?.bytes().to_vec();
    let mut rewrite = rewrite::Rewrite::new(&data);
    for field in &add {
        rewrite.add_field(field);
    }
    for (name, field) in &replace {
        if !rewrite.replace_field(name, field) {
            rewrite.add_field(field);
        }
    }
    for name in &remove {
        rewrite.remove_field(name);
    }
    let mut failed = None;
    if let Some(link) = link {
        rewrite.rewrite_links(|found| {
            let changed = link.call1((found,)).and_then(|new| new.extract::<Option<String>>());
            changed.map_err(|error| failed = Some(error)).ok().flatten()
        });
    }
    if let Some(error) = failed {
        return Err(error);
    }
    let changed = rewrite.finish();
    let mut rewrite = rewrite::Rewrite::new(&changed);
    rewrite.append_footer(footer_text, footer_html);
    Ok(PyBytes::new(py, &rewrite.finish()))
}
