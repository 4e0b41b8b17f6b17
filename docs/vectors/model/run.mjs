// Computes every vector file from its inputs, by models that were written from docs/protocol.md and docs/storage.md and
// not from the Go code, and compares every byte; --write writes the files. A file by its name runs that file alone.
//
//   npm ci && node run.mjs [--write] [identity.json ...]
import { readFileSync, writeFileSync } from 'node:fs';
import * as acts from './acts.mjs';
import * as backup from './backup.mjs';
import * as blob from './blob.mjs';
import * as content from './content.mjs';
import * as frames from './frames.mjs';
import * as group from './group.mjs';
import * as identity from './identity.mjs';
import * as links from './links.mjs';
import * as mailbox from './mailbox.mjs';
import * as prekey from './prekey.mjs';
import * as records from './records.mjs';
import * as session from './session.mjs';
import * as vault from './vault.mjs';
import * as witness from './witness.mjs';

const args = process.argv.slice(2), write = args.includes('--write'), only = args.filter((a) => !a.startsWith('--'));
const models = [backup, identity, witness, session, content, records, mailbox, frames.relay, frames.blobs, prekey, group, acts, blob, links, vault];

// A vector is one case of a file: an element of one of its lists.
const count = (v) => Object.values(v).filter(Array.isArray).reduce((n, list) => n + list.length, 0);

// Where two values differ first, for whoever has to find out why.
function difference(a, b, at) {
  if (a === null || b === null || typeof a !== 'object' || typeof b !== 'object') return a === b ? undefined : `${at}: ${JSON.stringify(a)} is not ${JSON.stringify(b)}`;
  for (const k of new Set([...Object.keys(a), ...Object.keys(b)])) {
    const d = difference(a[k], b[k], `${at}.${k}`);
    if (d) return d;
  }
}

let vectors = 0, files = 0, failed = 0;
for (const m of models) {
  if (only.length && !only.includes(m.name)) continue;
  const file = new URL(`../${m.name}`, import.meta.url);
  const text = readFileSync(file, 'utf8'), v = JSON.parse(text);
  let built;
  try {
    built = m.build(structuredClone(v));
  } catch (err) {
    failed++;
    console.error(`${m.name}: ${err.stack}`);
    continue;
  }
  const now = JSON.stringify(built, null, 2) + '\n';
  if (write && now !== text) {
    writeFileSync(file, now);
    console.log(`${m.name}: written`);
  } else if (now !== text) {
    failed++;
    console.error(`${m.name}: ${difference(v, built, '') ?? 'the order of fields differs'}`.slice(0, 400));
    continue;
  }
  files++;
  vectors += count(built);
  console.log(`${m.name.padEnd(18)} ${String(count(built)).padStart(4)} vectors agree`);
}
console.log(`${vectors} vectors in ${files} files; ${failed} files differ`);
process.exit(failed ? 1 : 0);
