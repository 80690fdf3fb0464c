//! What a flag tells Python to pull: wanted routes and plans, sums of lanes, faults.

use angarium_engine::{delivery, faults};
use pyo3::prelude::*;

#[pyclass(frozen, module = "angarium._core")]
pub struct RouteWanted(pub(super) angarium_ledger::RouteWanted);

#[pymethods]
impl RouteWanted {
    #[getter]
    fn key(&self) -> u32 {
        self.0.key
    }

    #[getter]
    fn domain(&self) -> &str {
        &self.0.domain
    }

    #[getter]
    fn tag(&self) -> &str {
        &self.0.tag
    }

    #[getter]
    fn tls(&self) -> u8 {
        self.0.tls
    }

    #[getter]
    fn waiting(&self) -> u32 {
        self.0.waiting
    }

    #[getter]
    fn oldest(&self) -> u64 {
        self.0.oldest
    }
}

#[pyclass(frozen, module = "angarium._core")]
pub struct LaneWanted(pub(super) angarium_ledger::LaneWanted);

#[pymethods]
impl LaneWanted {
    #[getter]
    fn lane(&self) -> u64 {
        self.0.lane.0
    }

    #[getter]
    fn kind(&self) -> &'static str {
        self.0.key.kind.name()
    }

    #[getter]
    fn site(&self) -> &str {
        &self.0.key.site
    }

    #[getter]
    fn port(&self) -> u16 {
        self.0.key.port
    }

    #[getter]
    fn pool(&self) -> &str {
        &self.0.key.pool
    }

    #[getter]
    fn identity(&self) -> &str {
        &self.0.key.identity
    }

    #[getter]
    fn tls(&self) -> u8 {
        self.0.key.tls
    }

    #[getter]
    fn hosts(&self) -> Vec<String> {
        self.0.hosts.clone()
    }

    #[getter]
    fn waiting(&self) -> u32 {
        self.0.waiting
    }

    #[getter]
    fn oldest(&self) -> u64 {
        self.0.oldest
    }
}

#[pyclass(frozen, module = "angarium._core")]
pub struct PlanReport(pub(super) delivery::PlanReport);

#[pymethods]
impl PlanReport {
    #[getter]
    fn lane(&self) -> u64 {
        self.0.lane
    }

    #[getter]
    fn host(&self) -> &str {
        &self.0.host
    }

    #[getter]
    fn delivered(&self) -> u64 {
        self.0.delivered
    }

    #[getter]
    fn deferred(&self) -> u64 {
        self.0.deferred
    }

    #[getter]
    fn failed(&self) -> u64 {
        self.0.failed
    }

    #[getter]
    fn reason(&self) -> &'static str {
        self.0.reason_name()
    }

    #[getter]
    fn code(&self) -> u16 {
        self.0.code
    }

    #[getter]
    fn text(&self) -> &str {
        &self.0.text
    }

    #[getter]
    fn sleeps_until(&self) -> u64 {
        self.0.sleeps_until
    }
}

#[pyclass(frozen, module = "angarium._core")]
pub struct Fault(pub(super) faults::Fault);

#[pymethods]
impl Fault {
    #[getter]
    fn kind(&self) -> &'static str {
        self.0.kind.name()
    }

    #[getter]
    fn since(&self) -> u64 {
        self.0.since
    }

    #[getter]
    fn text(&self) -> &str {
        &self.0.text
    }

    #[getter]
    fn stops_intake(&self) -> bool {
        self.0.kind.stops_intake()
    }
}
