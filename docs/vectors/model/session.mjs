// A second implementation of section "Session" of docs/protocol.md, written from that document
// and not from the Go code, on the @noble libraries. It carries out the steps of a vector file
// from its inputs alone and compares every output byte.
//
//   npm install && npm test
import { readFileSync } from 'node:fs';
import { chacha20poly1305 } from '@noble/ciphers/chacha.js';
import { ed25519, x25519 } from '@noble/curves/ed25519.js';
import { expand, extract } from '@noble/hashes/hkdf.js';
import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, concatBytes, hexToBytes, utf8ToBytes } from '@noble/hashes/utils.js';
import { ml_kem768 } from '@noble/post-quantum/ml-kem.js';

const bin = (hex) => hexToBytes(hex ?? '');
const ascii = utf8ToBytes;
const same = (a, b) => bytesToHex(a) === bytesToHex(b);
const cat = (...parts) => concatBytes(...parts.map((p) => Uint8Array.from(p)));
const zero = (n) => new Uint8Array(n);
const number = (size, value) => {
  const out = zero(size);
  for (let v = BigInt(value), i = size - 1; i >= 0; i--, v >>= 8n) out[i] = Number(v & 255n);
  return out;
};
const read = (bytes) => Number(bytes.reduce((v, x) => (v << 8n) | BigInt(x), 0n));

const H = (...parts) => sha256(cat(...parts));
const LP = (x) => cat(number(4, x.length), x);
const Hp = (...parts) => H(...parts.map(LP));
const Ext = (salt, secret) => extract(sha256, secret, salt);
const Exp = (key, info, n) => expand(sha256, key, info, n);
const HMAC = (key, data) => hmac(sha256, key, data);
const seal = (key, nonce, ad, plain) => chacha20poly1305(key, nonce, ad).encrypt(plain);
const open = (key, nonce, ad, sealed) => chacha20poly1305(key, nonce, ad).decrypt(sealed);
const dh = (secret, pub) => x25519.getSharedSecret(secret, pub); // throws on low order
const split = (bytes, ...sizes) => {
  let at = 0;
  return sizes.map((n) => bytes.slice(at, (at += n)));
};

// 2.1 Handshake
const PREFIX = [1, 8, 32, 1088, 156];
const PREFIX_SIZE = PREFIX.reduce((a, b) => a + b);

function initiate(me, bundle, ea, kemEntropy, out) {
  const EA = x25519.getPublicKey(ea);
  const { cipherText: ct, sharedSecret: ss } = ml_kem768.encapsulate(bundle.pq, kemEntropy);
  const d1 = dh(ea, bundle.spk), d2 = dh(ea, bundle.ik), d3 = dh(me.ik, bundle.spk);
  const o = opening(bundle.hash, EA, ct, d1, d2, ss);
  const block = cat(me.user, me.sig, x25519.getPublicKey(me.ik), me.head);
  const eid = seal(o.kid, zero(12), o.t1, block);
  const keys = finish(o, block, eid, d3);
  Object.assign(out, { d1, d2, ss, ct, t1: o.t1, ck: o.ck, kid: o.kid, identity_block: block, sealed_identity: eid, d3, root: keys.root, head_a: keys.headA, head_b: keys.headB, ad: keys.AD });
  return {
    initiator: true, AD: keys.AD, root: keys.root, remote: bundle.spk, nextSend: keys.headA, nextRecv: keys.headB, previous: 0, kept: [], pq: newEpoch(0, 0),
    prefix: cat([2], bundle.hash.slice(0, 8), EA, ct, eid),
  };
}

function opening(bh, EA, ct, d1, d2, ss) {
  const t1 = Hp(ascii('kith1 hs1'), bh, EA, ct);
  const ck = Ext(t1, cat(d1, d2, ss));
  return { t1, ck, kid: Exp(ck, cat(ascii('kith1 id'), t1), 32) };
}

function finish(o, block, eid, d3) {
  const t2 = Hp(o.t1, eid, block.slice(64, 96));
  const [root, headA, headB] = split(Exp(Ext(o.ck, d3), cat(ascii('kith1 session'), t2), 96), 32, 32, 32);
  return { root, headA, headB, AD: Hp(ascii('kith1 ad'), t2, block) };
}

function accept(me, prekey, envelope, now) {
  const [type, id, EA, ct, eid] = split(envelope, ...PREFIX);
  if (type[0] !== 2 || !same(id, prekey.hash.slice(0, 8))) throw new Error('not for this prekey');
  const o = opening(prekey.hash, EA, ct, dh(prekey.spk, EA), dh(me.ik, EA), ml_kem768.decapsulate(ct, prekey.pq));
  const block = open(o.kid, zero(12), o.t1, eid);
  const keys = finish(o, block, eid, dh(prekey.spk, block.slice(64, 96)));
  const s = {
    initiator: false, AD: keys.AD, root: keys.root, local: prekey.spk, nextSend: keys.headB, nextRecv: keys.headA, previous: 0, kept: [], pq: newEpoch(0, 0),
    prefixHash: H(envelope.slice(0, PREFIX_SIZE)),
  };
  return [s, receive(s, envelope, now)];
}

// 2.2 Ratchet
const headKeys = (head) => split(Exp(head, ascii('kith1 hdr'), 64), 32, 32);
const tagOf = (head, n) => HMAC(headKeys(head)[1], number(4, n)).slice(0, 8);
const rootStep = (root, secret, n = 0, ss = zero(0)) =>
  split(Exp(Ext(root, cat(secret, ss)), n ? cat(ascii('kith1 ratchet pq'), number(4, n)) : ascii('kith1 ratchet'), 96), 32, 32, 32);
const chainStep = (chain) => {
  const mk = HMAC(chain.key, Uint8Array.of(1));
  chain.key = HMAC(chain.key, Uint8Array.of(2));
  chain.n++;
  return mk;
};

function sendingStep(s, secret) {
  s.local = secret;
  s.localPub = x25519.getPublicKey(secret);
  const mix = s.pq.role === READY ? s.pq.epoch + 1 : 0;
  const [root, key, head] = rootStep(s.root, dh(secret, s.remote), mix, mix ? s.pq.secret : undefined);
  Object.assign(s, { root, send: { key, head: s.nextSend, n: 0, mix }, nextSend: head });
  if (mix) s.pq = newEpoch(mix, s.received);
}

function receivingStep(s, ratchet, pn, mix) {
  if (!s.local) throw new Error('two steps without an answer');
  skip(s, pn);
  if (mix && (s.pq.role !== ANSWERED || mix !== s.pq.epoch + 1)) throw new Error('an epoch that was not answered');
  const [root, key, head] = rootStep(s.root, dh(s.local, ratchet), mix, mix ? s.pq.secret.slice(0, 32) : undefined);
  if (mix) s.pq = newEpoch(mix, s.received);
  Object.assign(s, { root, recv: { key, head: s.nextRecv, n: 0, mix }, nextRecv: head, remote: ratchet, previous: s.send?.n ?? 0, send: undefined, local: undefined });
}

function skip(s, n) {
  const from = s.recv?.n ?? 0;
  if (n < from || n - from > 2000 || (n > from && !s.recv)) throw new Error('gap');
  while (s.recv && s.recv.n < n) {
    const tag = tagOf(s.recv.head, s.recv.n);
    s.kept.push({ tag, key: chainStep(s.recv) });
  }
}

// 2.3 Message
const CLASSES = [256, 512, 1024, 1536, 2048, 4096];
const classOf = (size) => CLASSES.find((c) => c >= size);

function send(s, entropy, body) {
  if (!s.send) {
    sendingStep(s, entropy.slice(0, 32));
    entropy = entropy.slice(32);
  }
  const { head, n } = s.send;
  const guard = entropy.slice(0, 8);
  const [extra, left] = attach(s, n, entropy.slice(8), encodeBody(body, zero(0), false).length);
  if (left.length) throw new Error('entropy left over');
  entropy = guard;
  s.pq.since++;
  const tag = tagOf(head, n), nonce = cat(entropy, tag.slice(0, 4));
  const start = cat([1], tag, entropy);
  const header = cat([0], s.localPub, number(4, s.previous), number(4, n), number(4, s.send.mix));
  const front = cat(start, seal(headKeys(head)[0], nonce, cat(s.AD, start), header));
  return cat(s.prefix ?? zero(0), front, seal(chainStep(s.send), nonce, cat(s.AD, front), encodeBody(body, extra)));
}

// 2.7 Post-quantum epochs
const [IDLE, PROPOSED, ANSWERED, READY] = [0, 1, 2, 3];
const newEpoch = (epoch, begun) => ({ epoch, since: 0, begun, due: false, owed: false, tries: 0, role: IDLE, secret: zero(0) });
const proposes = (s) => s.initiator === (s.pq.epoch % 2 === 0);

function attach(s, n, entropy, size) {
  const pq = s.pq;
  if (s.prefix || (s.initiator && !s.recv) || (n % 32 !== 0 && !pq.owed && pq.tries < 8)) return [zero(0), entropy];
  if (pq.role === IDLE && proposes(s) && (pq.due || pq.since >= 50)) {
    pq.role = PROPOSED;
    pq.secret = entropy.slice(0, 64);
    entropy = entropy.slice(64);
  }
  let field;
  if (pq.role === PROPOSED) field = ml_kem768.keygen(pq.secret).publicKey;
  if (pq.role === ANSWERED) field = pq.secret.slice(32);
  if (!field) return [zero(0), entropy];
  const larger = size + 7 + field.length;
  pq.owed = larger > 2048 && classOf(larger) !== classOf(size);
  if (pq.owed) return [zero(0), entropy];
  if (n < 32) pq.tries = Math.min(pq.tries + 1, 8);
  return [cat([pq.role === PROPOSED ? 1 : 2], number(2, 4 + field.length), number(4, pq.epoch + 1), field), entropy];
}

function absorb(s, body, now, kem) {
  s.pq = { ...s.pq };
  const pq = s.pq;
  pq.since++;
  pq.begun ||= now;
  pq.due ||= now - pq.begun >= 7 * 24 * 3600 * 1000;
  const ofNext = (field) => (field && read(field.slice(0, 4)) === pq.epoch + 1 ? field.slice(4) : undefined);
  const key = ofNext(body.pqKey), ct = ofNext(body.pqCipher);
  if (key?.length === 1184 && pq.role === IDLE && !proposes(s)) {
    const made = ml_kem768.encapsulate(key, kem);
    Object.assign(pq, { role: ANSWERED, secret: cat(made.sharedSecret, made.cipherText), tries: 0 });
  }
  if (ct?.length === 1088 && pq.role === PROPOSED) {
    Object.assign(pq, { role: READY, secret: ml_kem768.decapsulate(ct, ml_kem768.keygen(pq.secret).secretKey), tries: 0 });
  }
}

// 2.4 Body
function encodeBody(b, extra, pad = true) {
  const field = (type, value) => (value.length ? cat([type], number(2, value.length), value) : zero(0));
  const raw = cat([1], extra, field(3, b.counter ? number(8, b.counter) : zero(0)), field(4, bin(b.own_head)), field(5, bin(b.your_head)), field(6, bin(b.token)), field(7, bin(b.content)));
  if (!pad) return raw;
  return cat(raw, zero(classOf(raw.length) - raw.length));
}

function parseBody(raw) {
  const b = {};
  let at = 1, last = 0;
  if (raw[0] !== 1 || !CLASSES.includes(raw.length)) throw new Error('body');
  while (at < raw.length && raw[at] !== 0) {
    const type = raw[at], size = read(raw.slice(at + 1, at + 3)), value = raw.slice(at + 3, at + 3 + size);
    if (type <= last || value.length !== size) throw new Error('field');
    if (type === 1) b.pqKey = value;
    if (type === 2) b.pqCipher = value;
    if (type === 3) b.counter = read(value);
    const name = { 4: 'own_head', 5: 'your_head', 6: 'token', 7: 'content' }[type];
    if (name) b[name] = bytesToHex(value);
    [at, last] = [at + 3 + size, type];
  }
  if (raw.slice(at).some((x) => x !== 0)) throw new Error('padding');
  return b;
}

// 2.5 Receiving: on a copy, which takes the place of s only if everything holds.
function receive(s, envelope, now, kem) {
  let m = envelope;
  if (m[0] === 2) {
    if (s.initiator || !same(H(m.slice(0, PREFIX_SIZE)), s.prefixHash)) throw new Error('prefix');
    m = m.slice(PREFIX_SIZE);
  }
  const next = { ...s, kept: [...s.kept], recv: s.recv && { ...s.recv } };
  const mk = messageKey(next, m);
  const body = parseBody(open(mk, nonceOf(m), cat(s.AD, m.slice(0, 78)), m.slice(78)));
  next.received = now;
  absorb(next, body, now, kem);
  Object.assign(s, next, { prefix: undefined });
  return body;
}

const nonceOf = (m) => cat(m.slice(9, 17), m.slice(1, 5));

function messageKey(s, m) {
  const at = s.kept.findIndex((k) => same(k.tag, m.slice(1, 9)));
  if (at >= 0) return s.kept.splice(at, 1)[0].key;
  let header = s.recv && tryHeader(s, s.recv.head, m);
  if (!header) {
    header = tryHeader(s, s.nextRecv, m);
    if (!header) throw new Error('no key fits');
    receivingStep(s, header.slice(1, 33), read(header.slice(33, 37)), read(header.slice(41)));
  }
  if (read(header.slice(41)) !== s.recv.mix) throw new Error('another epoch');
  skip(s, read(header.slice(37, 41)));
  return chainStep(s.recv);
}

function tryHeader(s, head, m) {
  try {
    const h = open(headKeys(head)[0], nonceOf(m), cat(s.AD, m.slice(0, 17)), m.slice(17, 78));
    const fits = h[0] === 0 && same(tagOf(head, read(h.slice(37, 41))), m.slice(1, 9));
    return fits ? h : undefined;
  } catch {
    return undefined;
  }
}

// 2.6 Stored session
function stateOf(s, peer, prekeyID, received) {
  const key = (k) => k ?? zero(32);
  const flags = (s.initiator ? 1 : 0) | (s.recv || !s.initiator ? 2 : 0) | (s.send ? 4 : 0) | (s.recv ? 8 : 0) | (s.pq.due ? 16 : 0) | (s.pq.owed ? 32 : 0);
  const prefix = s.prefix ?? zero(0);
  return cat([2], number(2, 1), [flags], number(4, s.pq.epoch),
    peer.user, peer.sig, x25519.getPublicKey(peer.ik), s.AD, key(s.prefixHash), s.root,
    key(s.local), key(s.local && s.localPub), s.remote,
    key(s.send?.key), key(s.send?.head), s.nextSend, key(s.recv?.key), key(s.recv?.head), s.nextRecv,
    prekeyID, number(8, received), number(4, s.send?.n ?? 0), number(4, s.recv?.n ?? 0), number(4, s.previous),
    number(2, prefix.length), prefix, number(4, s.pq.since), number(8, s.pq.begun), [s.pq.tries, s.pq.role],
    number(4, s.send?.mix ?? 0), number(4, s.recv?.mix ?? 0), number(2, s.pq.secret.length), s.pq.secret, number(2, s.kept.length), ...s.kept.map((k) => cat(k.tag, number(8, k.at), k.key)));
}

// The run.
let compared = 0;
const expect = (name, got, want) => {
  if (got !== want) throw new Error(`${name}: ${got} is not ${want}`);
  compared++;
};

const v = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const deviceOf = (d) => ({ user: bin(d.user), sig: ed25519.getPublicKey(bin(d.sign_seed)), ik: bin(d.ik), head: cat(number(4, d.head_epoch), number(8, d.head_seq), bin(d.head_hash)) });
const A = deviceOf(v.initiator), B = deviceOf(v.responder);
const pq = ml_kem768.keygen(bin(v.prekey.pq_seed));
const hash = H(bin(v.prekey.bundle));
const bundle = { hash, spk: x25519.getPublicKey(bin(v.prekey.spk)), ik: x25519.getPublicKey(B.ik), pq: pq.publicKey };
const derived = {};
const sides = { initiator: initiate(A, bundle, bin(v.handshake.ea), bin(v.handshake.kem_entropy), derived) };
for (const [name, value] of Object.entries(derived)) expect(name, bytesToHex(value), v.handshake[name]);

const received = {};
v.steps.forEach((step, i) => {
  if (step.opens === undefined) {
    expect(`step ${i}: envelope`, bytesToHex(send(sides[step.by], bin(step.entropy), step)), step.envelope);
    return;
  }
  const envelope = bin(v.steps[step.opens].envelope);
  let body;
  try {
    if (sides[step.by]) body = receive(sides[step.by], envelope, step.now, bin(step.kem_entropy));
    else [sides[step.by], body] = accept(B, { hash, spk: bin(v.prekey.spk), pq: pq.secretKey }, envelope, step.now);
  } catch (err) {
    if (!step.fails) throw err;
  }
  expect(`step ${i}: fails`, body === undefined, step.fails ?? false);
  if (!body) return;
  received[step.by] = step.now;
  for (const k of sides[step.by].kept) k.at ??= step.now;
  for (const name of ['counter', 'own_head', 'your_head', 'token', 'content']) expect(`step ${i}: ${name}`, body[name], v.steps[step.opens][name]);
});
expect('state of the initiator', bytesToHex(stateOf(sides.initiator, B, hash.slice(0, 8), received.initiator)), v.states[0]);
expect('state of the responder', bytesToHex(stateOf(sides.responder, A, hash.slice(0, 8), received.responder)), v.states[1]);
console.log(`${process.argv[2]}: ${compared} values agree`);
