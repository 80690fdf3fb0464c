//! The extension `angarium._core`: every export on this page, one file for each room, no rule about mail in any.
//!
//! A binding turns arguments into borrowed Rust, calls one function of its room (with the interpreter released where
//! that takes long) and gives back a frozen class. `python/angarium/_core.pyi` says the same to type checkers.

mod auth;
mod engine;
mod message;
mod queue;
mod reports;
mod reputation;
mod smtp;

#[pyo3::pymodule]
mod _core {
    #[pymodule_export]
    use crate::auth::{
        AuthJudge, DkimKey, DkimSigner, forged_results, merged_results, parse_results, sign_dkim2, verify_dkim2,
    };
    #[pymodule_export]
    use crate::engine::{
        Ask, Body, Credentials, Deliver, Done, Engine, Fault, Flag, LaneWanted, PlanReport, RouteWanted, verdict_words,
    };
    #[pymodule_export]
    use crate::message::{
        HeaderScan, MessagePart, MessageScan, build_message, diagnose_address, message_addresses, message_automatic,
        message_readings, message_text, parse_date, rewrite_message, scan_header, scan_message, seven_bit,
        write_mailbox,
    };
    #[pymodule_export]
    use crate::queue::{Later, Leased, QueueIndex, Taken};
    #[pymodule_export]
    use crate::reports::{
        pack_aggregate, pack_tls_report, read_report, write_aggregate, write_feedback, write_tls_report,
    };
    #[pymodule_export]
    use crate::reputation::{BloomFilter, RotatingBloomFilter};
    #[pymodule_export]
    use crate::smtp::{
        SmtpAuth, SmtpAuthCancelled, SmtpAuthResponse, SmtpBody, SmtpBroken, SmtpCapabilities, SmtpChunk, SmtpClient,
        SmtpData, SmtpEarly, SmtpEnd, SmtpEtrn, SmtpExpn, SmtpGarbage, SmtpHangup, SmtpHello, SmtpMail, SmtpQuit,
        SmtpRcpt, SmtpReply, SmtpReset, SmtpServer, SmtpStartTls, SmtpVrfy, SmtpXclient, SmtpXforward,
    };
}
