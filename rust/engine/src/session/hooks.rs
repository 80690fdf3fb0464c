//! Questions of a session to hooks, at connect, MAIL and RCPT, and what their verdicts do.

use angarium_nouns::envelope::Class;
use angarium_nouns::{Address, Reply};

use super::transaction::Transaction;
use super::{Session, Step};
use crate::asks::{AskPhase, Question};
use crate::policy::Hook;
use crate::tables::{Decision, Verdict};

impl Session {
    pub(super) async fn ask_connect(&mut self) -> Step {
        let Some(hook) = self.policy.table.hooks.connect.clone() else { return Step::Read };
        let verdict = self.put(&hook, self.question(AskPhase::Connect, None)).await;
        match verdict.decision {
            Decision::Accept | Decision::Hold | Decision::Discard => self.server.greet(),
            Decision::Reject | Decision::Defer => {
                let reply = self.reworded(&connect_reply(&verdict));
                self.server.refuse(&reply);
            }
        }
        if self.server.is_closed() { Step::Close } else { Step::Read }
    }

    pub(super) async fn ask_mail(&mut self) -> Step {
        let Some(mut transaction) = self.transaction.take() else { return Step::Resume };
        let Some(hook) = transaction.policy.table.hooks.mail.clone() else { return Step::Resume };
        let verdict = self.put(&hook, self.question(AskPhase::Mail, Some(&transaction))).await;
        if refuses(&verdict) {
            self.transaction = Some(transaction);
            self.abort();
            self.say(&verdict.reply());
            return Step::Resume;
        }
        apply_at_mail(&mut transaction, &verdict);
        self.transaction = Some(transaction);
        self.server.accept();
        Step::Resume
    }

    pub(super) async fn ask_rcpt(&mut self) -> Step {
        let Some(mut transaction) = self.transaction.take() else { return Step::Resume };
        let (Some(hook), Some(address)) = (transaction.policy.table.hooks.rcpt.clone(), transaction.asked.take())
        else {
            return Step::Resume;
        };
        let mut question = self.question(AskPhase::Rcpt, Some(&transaction));
        question.recipients.push(address.as_str().to_owned());
        let verdict = self.put(&hook, question).await;
        if refuses(&verdict) {
            self.transaction = Some(transaction);
            let flow = self.refuse_recipient(&verdict.reply());
            return flow.break_value().unwrap_or(Step::Resume);
        }
        let policy = transaction.policy.clone();
        // A recipient that a hook discards is answered well and gets nothing.
        if verdict.decision != Decision::Discard {
            transaction.admit(address, &self.face(&policy).listener.name, self.is_known(), Some(&verdict));
        }
        self.transaction = Some(transaction);
        self.server.accept();
        Step::Resume
    }

    pub(super) async fn put(&mut self, hook: &Hook, question: Question) -> Verdict {
        if !self.server.output().is_empty() && !self.write().await {
            return Verdict { decision: Decision::Defer, ..Verdict::default() };
        }
        self.entry.mark().set_deadline(super::NEVER); // the hook has its own
        self.intake.asks.ask(hook, question).await
    }

    pub(super) fn question(&self, phase: AskPhase, transaction: Option<&Transaction>) -> Question {
        let recipients = transaction
            .map(|transaction| transaction.guests.iter().map(|guest| guest.address.as_str().to_owned()).collect());
        Question {
            phase,
            session: self.number,
            listener: self.listener,
            peer: Some(self.peer),
            trusted: self.trusted,
            hello: self.hello.to_string(),
            login: self.login().map_or_else(String::new, |login| login.name.to_string()),
            tls: self.tls_words().to_owned(),
            id: transaction.map(|transaction| transaction.id),
            sender: transaction
                .and_then(|transaction| transaction.mail.path.as_ref())
                .map_or_else(String::new, |sender| sender.as_str().to_owned()),
            recipients: recipients.unwrap_or_default(),
            size: transaction.and_then(|transaction| transaction.mail.size).unwrap_or(0),
            view: None,
            verdicts: Vec::new(),
            credentials: None,
        }
    }
}

fn refuses(verdict: &Verdict) -> bool {
    matches!(verdict.decision, Decision::Reject | Decision::Defer)
}

/// RFC 5321 3.1: 554 or 421 are what a greeting may refuse with.
fn connect_reply(verdict: &Verdict) -> Reply {
    let reply = verdict.reply();
    let code = if verdict.decision == Decision::Reject { 554 } else { 421 };
    Reply { code, ..reply }
}

fn apply_at_mail(transaction: &mut Transaction, verdict: &Verdict) {
    if let Some(sender) = &verdict.sender {
        transaction.mail.path = Address::parse(sender).ok();
    }
    if let Some(tag) = &verdict.tag {
        transaction.route_tag = Some(tag.clone());
    }
    if let Some(class) = verdict.class.and_then(|class| Class::try_from(class).ok()) {
        transaction.class = class;
    }
    if let Some(tenant) = &verdict.tenant {
        transaction.tenant.clone_from(tenant);
    }
    if let Some(campaign) = &verdict.campaign {
        transaction.campaign.clone_from(campaign);
    }
    match verdict.decision {
        Decision::Hold => transaction.held = Some(verdict.until),
        Decision::Discard => transaction.discarded = true,
        _ => {}
    }
}
