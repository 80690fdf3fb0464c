//! `angarium.message`: the header scan. Nothing becomes a Python object before it is asked for.

use angarium_message::{Field, Header};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

/// The ranges of a scanned header beside its bytes.
#[pyclass(frozen, module = "angarium._core")]
pub struct HeaderScan {
    data: PyBackedBytes,
    fields: Vec<Field>,
    header_end: usize,
    body_start: usize,
    overflow: Option<String>,
}

/// Scans the header at the front of a message.
#[pyfunction]
#[pyo3(signature = (data, /))]
pub fn scan_header(data: PyBackedBytes) -> HeaderScan {
    let header = Header::scan(&data);
    let (header_end, body_start) = (header.bytes().len(), header.body_start());
    let overflow = header.overflow().map(|bound| bound.to_string());
    let fields = header.into_fields();
    HeaderScan { data, fields, header_end, body_start, overflow }
}

impl HeaderScan {
    fn named<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Field> {
        self.fields.iter().filter(move |field| field.has_name(&self.data, name))
    }

    fn value_of<'py>(&self, py: Python<'py>, field: &Field) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.data[field.value_range(&self.data)])
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
        let item = |field: &Field| (PyBytes::new(py, &self.data[field.name_range()]), self.value_of(py, field));
        self.fields.iter().map(item).collect()
    }

    #[getter]
    fn ranges(&self) -> Vec<((usize, usize), (usize, usize))> {
        let pair = |range: std::ops::Range<usize>| (range.start, range.end);
        self.fields.iter().map(|field| (pair(field.name_range()), pair(field.value_range(&self.data)))).collect()
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
