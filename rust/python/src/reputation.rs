//! `angarium.reputation`: bloom filters for Python. Opens, maps and replaces files for `rust/core/traffic`.
//!
//! A filter may be asked and changed from several threads: a lock of its own guards it, and calls that take many keys
//! release the interpreter. A mapped filter is read-only; its file must not be cut short while it is mapped.

// PyO3 hands arguments over by value.
#![allow(clippy::needless_pass_by_value)]

use std::fs::{File, rename};
use std::io::Write;
use std::path::{Path, PathBuf};

use angarium_traffic::{Bloom, BloomError, Layout, Rotation};
use memmap2::Mmap;
use parking_lot::RwLock;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::import_exception;
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyBytes, PyIterator};

import_exception!(angarium.errors, FilterError);

fn refused(error: BloomError) -> PyErr {
    FilterError::new_err(error.to_string())
}

/// A key as it may come: bytes, text (UTF-8), any buffer of bytes.
enum Key {
    Bytes(PyBackedBytes),
    Text(PyBackedStr),
    Copied(Vec<u8>),
}

impl Key {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Text(text) => text.as_bytes(),
            Self::Copied(bytes) => bytes,
        }
    }
}

impl<'py> FromPyObject<'_, 'py> for Key {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = value.cast::<PyBytes>() {
            return Ok(Self::Bytes(bytes.to_owned().into()));
        }
        if let Ok(text) = value.extract::<PyBackedStr>() {
            return Ok(Self::Text(text));
        }
        let buffer = PyBuffer::<u8>::get(&value)
            .map_err(|_| PyTypeError::new_err("a key is bytes, str or a buffer of bytes"))?;
        buffer.to_vec(value.py()).map(Self::Copied)
    }
}

fn all_keys(keys: &Bound<'_, PyAny>) -> PyResult<Vec<Key>> {
    if keys.is_instance_of::<PyBytes>() || keys.is_instance_of::<pyo3::types::PyString>() {
        return Err(PyTypeError::new_err("many keys are a list or another iterable of keys"));
    }
    let room = keys.len().unwrap_or(0);
    let mut all = Vec::with_capacity(room);
    for key in PyIterator::from_object(keys)? {
        all.push(key?.extract()?);
    }
    Ok(all)
}

/// Puts a file in place of another as a whole: a reader sees the old one or the new one.
fn replace_file(path: &Path, parts: &[&[u8]]) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let mut file = File::create(&new)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_data()?;
    rename(&new, path)
}

enum Held {
    Owned(Bloom<Vec<u8>>),
    Mapped(Bloom<Mmap>),
}

/// The same question to either kind.
macro_rules! ask {
    ($held:expr, $bloom:ident => $answer:expr) => {
        match &*$held {
            Held::Owned($bloom) => $answer,
            Held::Mapped($bloom) => $answer,
        }
    };
}

impl Held {
    fn owned(&mut self) -> PyResult<&mut Bloom<Vec<u8>>> {
        match self {
            Self::Owned(bloom) => Ok(bloom),
            Self::Mapped(_) => Err(FilterError::new_err("a mapped filter is read-only: load it to change it")),
        }
    }
}

#[pyclass(frozen, module = "angarium._core")]
pub struct BloomFilter(RwLock<Held>);

impl BloomFilter {
    fn of(held: Held) -> Self {
        Self(RwLock::new(held))
    }

    fn empty(layout: Result<Layout, BloomError>) -> PyResult<Self> {
        let bloom = layout.and_then(Bloom::new).map_err(refused)?;
        Ok(Self::of(Held::Owned(bloom)))
    }

    fn layout(&self) -> Layout {
        ask!(self.0.read(), bloom => bloom.layout())
    }
}

#[pymethods]
impl BloomFilter {
    #[new]
    #[pyo3(signature = (expected, *, false_positives = 0.01, seed = 0))]
    fn new(expected: u64, false_positives: f64, seed: u32) -> PyResult<Self> {
        Self::empty(Layout::for_items(expected, false_positives, seed))
    }

    #[staticmethod]
    #[pyo3(signature = (*, blocks, hashes, seed = 0))]
    fn with_layout(blocks: u64, hashes: u32, seed: u32) -> PyResult<Self> {
        Self::empty(Layout::new(blocks, hashes, seed))
    }

    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let image = py.detach(|| std::fs::read(path))?;
        let bloom = py.detach(|| Bloom::open(image, true)).map_err(refused)?;
        Ok(Self::of(Held::Owned(bloom)))
    }

    #[staticmethod]
    #[pyo3(signature = (path, *, verify = false))]
    fn map(py: Python<'_>, path: PathBuf, verify: bool) -> PyResult<Self> {
        let file = File::open(path)?;
        // SAFETY: the map is only read, byte by byte, and any bytes are a valid filter. Writers replace files as a whole
        // (`replace_file`); that nobody cuts a mapped file short is what the documentation asks for.
        let map = unsafe { Mmap::map(&file) }?;
        let bloom = py.detach(|| Bloom::open(map, verify)).map_err(refused)?;
        Ok(Self::of(Held::Mapped(bloom)))
    }

    #[staticmethod]
    fn from_bytes(py: Python<'_>, image: Key) -> PyResult<Self> {
        let bloom = py.detach(|| Bloom::open(image.bytes().to_vec(), true)).map_err(refused)?;
        Ok(Self::of(Held::Owned(bloom)))
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let mut held = self.0.write();
        if let Held::Owned(bloom) = &mut *held {
            bloom.seal();
        }
        ask!(held, bloom => PyBytes::new(py, bloom.image()))
    }

    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| {
            let mut held = self.0.write();
            if let Held::Owned(bloom) = &mut *held {
                bloom.seal();
            }
            ask!(held, bloom => replace_file(&path, &[bloom.image()]))
        })?;
        Ok(())
    }

    fn copy(&self, py: Python<'_>) -> Self {
        Self::of(Held::Owned(py.detach(|| ask!(self.0.read(), bloom => Bloom::copy_of(bloom)))))
    }

    fn add(&self, key: Key) -> PyResult<bool> {
        Ok(self.0.write().owned()?.add(key.bytes()))
    }

    fn add_many(&self, py: Python<'_>, keys: &Bound<'_, PyAny>) -> PyResult<u64> {
        let keys = all_keys(keys)?;
        py.detach(|| Ok(self.0.write().owned()?.add_many(keys.iter().map(Key::bytes))))
    }

    fn contains(&self, key: Key) -> bool {
        ask!(self.0.read(), bloom => bloom.contains(key.bytes()))
    }

    fn __contains__(&self, key: Key) -> bool {
        self.contains(key)
    }

    fn contains_many(&self, py: Python<'_>, keys: &Bound<'_, PyAny>) -> PyResult<Vec<bool>> {
        let keys = all_keys(keys)?;
        Ok(py.detach(|| {
            let mut answers = Vec::with_capacity(keys.len());
            ask!(self.0.read(), bloom => bloom.contains_many(keys.iter().map(Key::bytes), &mut answers));
            answers
        }))
    }

    fn union(&self, py: Python<'_>, other: &Self) -> PyResult<()> {
        if std::ptr::eq(self, other) {
            return Ok(());
        }
        py.detach(|| {
            // A copy, so that two threads that unite two filters with each other do not wait for each other.
            let others = ask!(other.0.read(), bloom => Bloom::copy_of(bloom));
            self.0.write().owned()?.union(&others).map_err(refused)
        })
    }

    fn clear(&self) -> PyResult<()> {
        self.0.write().owned()?.clear();
        Ok(())
    }

    fn rate(&self, items: u64) -> f64 {
        self.layout().rate(items)
    }

    fn fill(&self, py: Python<'_>) -> f64 {
        py.detach(|| ask!(self.0.read(), bloom => bloom.fill()))
    }

    #[getter]
    fn blocks(&self) -> u64 {
        self.layout().blocks
    }

    #[getter]
    fn hashes(&self) -> u32 {
        self.layout().hashes
    }

    #[getter]
    fn seed(&self) -> u32 {
        self.layout().seed
    }

    #[getter]
    fn added(&self) -> u64 {
        ask!(self.0.read(), bloom => bloom.added())
    }

    #[getter]
    fn nbytes(&self) -> usize {
        ask!(self.0.read(), bloom => bloom.image().len())
    }

    #[getter]
    fn read_only(&self) -> bool {
        matches!(&*self.0.read(), Held::Mapped(_))
    }

    fn __repr__(&self) -> String {
        let Layout { blocks, hashes, seed } = self.layout();
        format!("<BloomFilter of {blocks} blocks, {hashes} hashes, seed {seed}, {} keys>", self.added())
    }
}

#[pyclass(frozen, module = "angarium._core")]
pub struct RotatingBloomFilter(RwLock<Rotation>);

#[pymethods]
impl RotatingBloomFilter {
    #[new]
    #[pyo3(signature = (capacity, *, false_positives = 0.01, seed = 0))]
    fn new(capacity: u64, false_positives: f64, seed: u32) -> PyResult<Self> {
        // Both generations are asked: each may be wrong half as often.
        let layout = Layout::for_items(capacity, false_positives / 2.0, seed);
        let rotation = layout.and_then(|layout| Rotation::new(layout, capacity)).map_err(refused)?;
        Ok(Self(RwLock::new(rotation)))
    }

    #[staticmethod]
    #[pyo3(signature = (path, *, capacity))]
    fn load(py: Python<'_>, path: PathBuf, capacity: u64) -> PyResult<Self> {
        if capacity == 0 {
            return Err(PyValueError::new_err("a generation takes at least one key"));
        }
        let image = py.detach(|| std::fs::read(path))?;
        let rotation = py.detach(|| Rotation::open(&image, capacity)).map_err(refused)?;
        Ok(Self(RwLock::new(rotation)))
    }

    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| replace_file(&path, &self.0.write().images()))?;
        Ok(())
    }

    fn add(&self, key: Key) -> bool {
        self.0.write().add(key.bytes())
    }

    fn add_many(&self, py: Python<'_>, keys: &Bound<'_, PyAny>) -> PyResult<u64> {
        let keys = all_keys(keys)?;
        Ok(py.detach(|| {
            let mut rotation = self.0.write();
            keys.iter().map(|key| u64::from(rotation.add(key.bytes()))).sum()
        }))
    }

    fn contains(&self, key: Key) -> bool {
        self.0.read().contains(key.bytes())
    }

    fn __contains__(&self, key: Key) -> bool {
        self.contains(key)
    }

    fn contains_many(&self, py: Python<'_>, keys: &Bound<'_, PyAny>) -> PyResult<Vec<bool>> {
        let keys = all_keys(keys)?;
        Ok(py.detach(|| {
            let rotation = self.0.read();
            keys.iter().map(|key| rotation.contains(key.bytes())).collect()
        }))
    }

    fn rotate(&self) {
        self.0.write().rotate();
    }

    #[getter]
    fn added(&self) -> (u64, u64) {
        self.0.read().added()
    }

    #[getter]
    fn capacity(&self) -> u64 {
        self.0.read().capacity()
    }

    fn __repr__(&self) -> String {
        let (younger, older) = self.added();
        format!("<RotatingBloomFilter of {} keys a generation, {younger} and {older} in it>", self.capacity())
    }
}
