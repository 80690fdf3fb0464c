// Sends one message by net/smtp: a job as JSON on standard input (tests/interop/clients.py), the content in a file.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/smtp"
	"os"
)

type job struct {
	Port       int      `json:"port"`
	TLS        string   `json:"tls"`
	CA         string   `json:"ca"`
	Login      string   `json:"login"`
	Password   string   `json:"password"`
	Mechanism  string   `json:"mechanism"`
	Sender     string   `json:"sender"`
	Recipients []string `json:"recipients"`
	Content    string   `json:"content"`
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	var given job
	check(json.NewDecoder(os.Stdin).Decode(&given))
	authorities, err := os.ReadFile(given.CA)
	check(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authorities)
	settings := &tls.Config{RootCAs: pool, ServerName: "localhost"}
	connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", given.Port))
	check(err)
	if given.TLS == "implicit" {
		connection = tls.Client(connection, settings)
	}
	client, err := smtp.NewClient(connection, "localhost")
	check(err)
	if given.TLS == "starttls" {
		check(client.StartTLS(settings))
	}
	if given.Login != "" && given.Mechanism == "CRAM-MD5" {
		check(client.Auth(smtp.CRAMMD5Auth(given.Login, given.Password)))
	} else if given.Login != "" {
		check(client.Auth(smtp.PlainAuth("", given.Login, given.Password, "localhost")))
	}
	check(client.Mail(given.Sender))
	for _, recipient := range given.Recipients {
		check(client.Rcpt(recipient))
	}
	body, err := client.Data()
	check(err)
	content, err := os.ReadFile(given.Content)
	check(err)
	_, err = body.Write(content)
	check(err)
	check(body.Close())
	check(client.Quit())
}
