// Sends one message by nodemailer: a job as JSON on standard input (tests/interop/clients.py), the content in a file.
'use strict'
const fs = require('fs')
const nodemailer = require('nodemailer')

const job = JSON.parse(fs.readFileSync(0, 'utf8'))
const transport = nodemailer.createTransport({
  host: 'localhost',
  port: job.port,
  secure: job.tls === 'implicit',
  ignoreTLS: job.tls === 'none',
  requireTLS: job.tls === 'starttls',
  tls: { ca: fs.readFileSync(job.ca), servername: 'localhost' },
  auth: job.login ? { user: job.login, pass: job.password } : undefined,
  authMethod: job.mechanism || undefined
})
transport
  .sendMail({ envelope: { from: job.sender, to: job.recipients }, raw: fs.readFileSync(job.content) })
  .then(() => transport.close(), (error) => { console.error(error.message); process.exitCode = 1 })
