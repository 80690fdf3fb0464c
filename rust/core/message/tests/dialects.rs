//! Returned mails that stand in no suite: words of common mail systems and of none, with invented addresses, labelled
//! by hand before the rules were asked. `dialects.tsv` is not to be tuned on: it shows what the rules do with words they
//! were not made for (docs/bounce-misses.md).

use angarium_message::bounce;

/// A mail of this shape around the words.
fn mail(shape: &str, status: &str, words: &str) -> String {
    let words = words.replace("\\n", "\r\n");
    let from = "From: Mail Delivery <mailer-daemon@mx.here.example>\r\nTo: me@here.example\r\n";
    let original = "From: me@here.example\r\nTo: nobody@there.example\r\nMessage-ID: <1@here.example>\r\n\r\n";
    if shape == "notice" {
        return format!(
            "{from}Subject: failure notice\r\n\r\nYour message could not be delivered to:\r\n\r\n{words}\r\n\r\n\
            --- Below this line is a copy of the message.\r\n\r\n{original}"
        );
    }
    let action = if status.starts_with('4') { "delayed" } else { "failed" };
    format!(
        "{from}Subject: Undelivered mail\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n\
        --b\r\n\r\nIt could not be delivered.\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n\
        Reporting-MTA: dns; mx.here.example\r\n\r\nFinal-Recipient: rfc822; nobody@there.example\r\nAction: {action}\r\n\
        Status: {status}\r\nDiagnostic-Code: {words}\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n{original}\r\n--b--\r\n"
    )
}

#[test]
fn words_that_the_rules_were_not_made_for() {
    let (mut all, mut reasons, mut hard) = (0, 0, 0);
    for line in include_str!("dialects.tsv").lines().skip(1) {
        let row: Vec<&str> = line.split('\t').collect();
        let [shape, status, words, reason, is_hard] = row[..] else { panic!("{line}") };
        let found = bounce::read(mail(shape, status, words).as_bytes());
        all += 1;
        assert_eq!(found.len(), 1, "{line}");
        assert_eq!(found[0].recipient, "nobody@there.example", "{line}");
        assert_eq!(found[0].message_id, "1@here.example", "{line}");
        assert!(status.is_empty() || found[0].status == status, "{line}: {:?}", found[0]);
        hard += usize::from(found[0].hard == (is_hard == "yes"));
        if found[0].reason.name() == reason {
            reasons += 1;
        } else {
            println!("{} by {}, wanted {reason}: {words}", found[0].reason.name(), found[0].rule);
        }
    }
    println!("{all} mails: reason {reasons}, hard or soft {hard}");
    assert!(hard * 100 >= all * 95, "hard or soft of {hard} of {all}");
    assert!(reasons * 100 >= all * 90, "reason of {reasons} of {all}");
}
