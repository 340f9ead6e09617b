/**
 * What processes of the drill `sqlite` do with a database in a mount:
 *
 *     node sqlite-client.ts make FILE JOURNAL                a new one, with accounts
 *     node sqlite-client.ts use FILE JOURNAL WHO COUNT SEED  COUNT transactions
 *     node sqlite-client.ts check FILE                       prints what is in it, as JSON
 *
 * A transaction moves an amount between two accounts and writes down that it did; its number is
 * printed once it is committed.
 */
import { DatabaseSync } from 'node:sqlite';
import { below, seededRandom } from '../e2e/content.ts';

const ACCOUNTS = 50;
const WAIT_MS = 60_000;

function open(file: string): DatabaseSync {
  const database = new DatabaseSync(file);
  database.exec(`PRAGMA busy_timeout = ${WAIT_MS}; PRAGMA synchronous = FULL`);
  return database;
}

/** Two that change the journal at once meet SQLITE_BUSY, however long they would wait. */
function make(file: string, journal: string): void {
  using database = open(file);
  database.exec(`PRAGMA journal_mode = ${journal}`);
  database.exec('CREATE TABLE account (id INTEGER PRIMARY KEY, amount INTEGER NOT NULL)');
  database.exec('CREATE TABLE done (who TEXT, number INTEGER, text TEXT, UNIQUE (who, number))');
  const add = database.prepare('INSERT INTO account VALUES (?, 0)');
  for (let id = 0; id < ACCOUNTS; id += 1) add.run(id);
}

function use(file: string, journal: string, [who, count, seed]: readonly string[]): void {
  const random = seededRandom(Number(seed));
  using database = open(file);
  if (journal !== 'wal') database.exec(`PRAGMA journal_mode = ${journal}`);
  const move = database.prepare('UPDATE account SET amount = amount + ? WHERE id = ?');
  const note = database.prepare('INSERT INTO done VALUES (?, ?, ?)');
  for (let number = 0; number < Number(count); number += 1) {
    const amount = below(random, 100);
    database.exec('BEGIN IMMEDIATE');
    move.run(-amount, below(random, ACCOUNTS));
    move.run(amount, below(random, ACCOUNTS));
    note.run(who!, number, 'x'.repeat(below(random, 3000)));
    database.exec('COMMIT');
    console.log(number);
  }
}

function check(file: string): void {
  using database = open(file);
  const { integrity_check: integrity } = database.prepare('PRAGMA integrity_check').get()!;
  const { sum } = database.prepare('SELECT sum(amount) AS sum FROM account').get()!;
  const counts = database.prepare('SELECT who, count(*) AS count FROM done GROUP BY who').all();
  console.log(JSON.stringify({ integrity, sum, counts }));
}

const [what, file, journal, ...more] = process.argv.slice(2);
if (what === 'make') make(file!, journal!);
if (what === 'use') use(file!, journal!, more);
if (what === 'check') check(file!);
