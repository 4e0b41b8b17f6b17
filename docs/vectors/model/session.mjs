// Section "Session": handshake, ratchet, messages, bodies, post-quantum epochs and the stored session. It carries out the
// steps of the vector file from their inputs alone.
import { ml_kem768 } from '@noble/post-quantum/ml-kem.js';
import { Exp, Ext, H, HMAC, Hp, ascii, bin, cat, dh, ed25519, hex, must, number, open, read, refuses, same, seal, split, u16, u32, u64, x25519, zero } from './lib.mjs';
import { bundleOf } from './identity.mjs';

export const name = 'session.json';

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

// forge changes what goes into a message on its way, to make what a receiver must refuse.
function send(s, entropy, body, forge = {}) {
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
  const tag = tagOf(head, forge.tagOf ?? n), nonce = cat(entropy, tag.slice(0, 4));
  const start = cat([1], tag, entropy);
  const header = cat([forge.flags ?? 0], s.localPub, number(4, s.previous), number(4, n), number(4, forge.mix ?? s.send.mix));
  const front = cat(start, seal(headKeys(head)[0], nonce, cat(s.AD, start), header));
  const plain = (forge.body ?? ((x) => x))(encodeBody(body, extra));
  return cat(forge.prefix ?? s.prefix ?? zero(0), front, seal(chainStep(s.send), nonce, cat(s.AD, front), plain));
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
  const size = classOf(raw.length), last = b.standing ? field(8, cat(...b.standing.map(u64))) : zero(0);
  const whole = raw.length + last.length <= size ? cat(raw, last) : raw; // how the sender stands fills padding alone
  return cat(whole, zero(size - whole.length));
}

function parseBody(raw) {
  const b = {};
  let at = 1, last = 0;
  if (raw[0] !== 1 || !CLASSES.includes(raw.length)) throw new Error('body');
  while (at < raw.length && raw[at] !== 0) {
    const type = raw[at], size = read(raw.slice(at + 1, at + 3)), value = raw.slice(at + 3, at + 3 + size);
    if (type <= last || value.length !== size) throw new Error('field');
    must(({ 3: [8], 4: [12], 5: [12], 8: [24] })[type]?.includes(size) ?? size <= ({ 6: 128, 7: 3920 }[type] ?? 65535), 'size of a field');
    if (type === 1) b.pqKey = value;
    if (type === 2) b.pqCipher = value;
    if (type === 3) b.counter = read(value);
    if (type === 8) b.standing = split(value, 8, 8, 8).map(read);
    const name = { 4: 'own_head', 5: 'your_head', 6: 'token', 7: 'content' }[type];
    if (name) b[name] = hex(value);
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
  const next = { ...s, kept: s.kept.filter((k) => now - (k.at ?? now) <= 32 * 24 * 3600 * 1000), recv: s.recv && { ...s.recv } };
  const mk = messageKey(next, m);
  const body = parseBody(open(mk, nonceOf(m), cat(s.AD, m.slice(0, 78)), m.slice(78)));
  next.received = now;
  for (const k of next.kept) k.at ??= now;
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
const BODY = ['counter', 'own_head', 'your_head', 'token', 'content'];
const deviceOf = (d) => ({ user: bin(d.user), sig: ed25519.getPublicKey(bin(d.sign_seed)), ik: bin(d.ik), head: cat(u32(d.head_epoch), u64(d.head_seq), bin(d.head_hash)) });

// The keys of message 1 of the first chain, one by one, and a root step with and without the secret of an epoch.
function derivations(sent) {
  const chain = { key: sent.key, n: 0 }, first = chainStep(chain);
  const root = H(ascii('a root key')), secret = H(ascii('an agreement')), ss = H(ascii('a secret of an epoch'));
  const out = (what, inputs, ...outputs) => ({ what, inputs: inputs.map(hex), outputs: outputs.map(hex) });
  return [
    out('header key and tag key of a chain', [sent.head], ...headKeys(sent.head)),
    out('tag of message 0', [sent.head, u32(0)], tagOf(sent.head, 0)),
    out('tag of message 70000', [sent.head, u32(70000)], tagOf(sent.head, 70000)),
    out('message key and next chain key', [sent.key], first, chain.key),
    out('root step: root, chain and next header key', [root, secret], ...rootStep(root, secret)),
    out('root step into epoch 9: root, chain and next header key', [root, secret, u32(9), ss], ...rootStep(root, secret, 9, ss)),
  ];
}

// Messages to a side that a last good one is on its way to: all of them fail, and then the good one opens.
function refused(from, to, now) {
  const flip = (raw, at) => cat(raw.slice(0, at), [raw[at] ^ 1], raw.slice(at + 1));
  const content = { counter: 99, content: hex(ascii('must not be shown')) };
  const forged = (forge, ahead = 0) => {
    const s = structuredClone(from);
    for (let i = 0; i < ahead; i++) chainStep(s.send);
    return send(s, cat(H(ascii('guard')).slice(0, 8)), content, forge);
  };
  const good = forged({});
  const behind = (...bytes) => ({ body: (plain) => cat(plain.slice(0, -bytes.length), bytes) });
  const cases = {
    'the type is 1 or 2': flip(good, 0), 'the tag is not altered': flip(good, 1), 'the guard is not altered': flip(good, 9),
    'the header is not altered': flip(good, 20), 'the tag of the header is not altered': flip(good, 77), 'the body is not altered': flip(good, 90),
    'the last byte is not altered': flip(good, good.length - 1), 'nothing is missing': good.slice(0, -1), 'nothing stands behind it': cat(good, [0]),
    'a size class': cat(good.slice(0, 78), zero(256 + 17)), 'an empty body': good.slice(0, 94), 'no bytes': zero(0),
    'the tag is that of N': forged({ tagOf: from.send.n + 1 }), 'no unknown flag': forged({ flags: 1 }), 'the epoch that began with the chain': forged({ mix: from.send.mix + 1 }),
    'a known version': forged({ body: (plain) => cat([2], plain.slice(1)) }), 'padding of zeros': forged(behind(1)), 'padding of zeros up to the end': forged(behind(0, 1)),
    'fields ascend': forged({ body: () => cat([1, 7, 0, 1, 65], [3, 0, 8], u64(1), zero(240)) }), 'no field twice': forged({ body: () => cat([1, 7, 0, 1, 65, 7, 0, 1, 65], zero(247)) }),
    'a field ends in the body': forged({ body: () => cat([1, 7, 1, 0], zero(252)) }), 'a counter of 8 bytes': forged({ body: () => cat([1, 3, 0, 7], zero(252)) }),
    'a digest of 12 bytes': forged({ body: () => cat([1, 4, 0, 13], zero(252)) }), 'a standing of 24 bytes': forged({ body: () => cat([1, 8, 0, 23], zero(252)) }), 'a token of 128 bytes at most': forged({ body: () => cat([1, 6, 0, 129], zero(252)) }),
    'a first flight is known by its prefix': cat([2], zero(1284), good), 'too far ahead': forged({}, 2001 + to.recv.n - from.send.n),
  };
  must(!refuses(() => receive(structuredClone(to), good, now)) && !refuses(() => receive(structuredClone(to), forged({}, 2000 + to.recv.n - from.send.n), now)), 'a good message is refused');
  const ignored = forged({ body: () => cat([1, 1, 0, 1, 9, 7, 0, 1, 65, 200, 0, 1, 66], zero(243)) });
  must(hex(bin(receive(structuredClone(to), ignored, now).content)) === '41', 'unknown fields are ignored');
  return Object.entries(cases).map(([rule, envelope]) => {
    const copy = structuredClone(to);
    must(refuses(() => receive(copy, envelope, now)), `not refused: ${rule}`);
    return { rule, envelope: hex(envelope), ...(rule === 'too far ahead' && { too_far: true }) };
  });
}

// First flights that no session begins with.
function refusedFirst(A, B, bundle, prekey, now) {
  const ea = H(ascii('another ephemeral key')), kem = H(ascii('another encapsulation'));
  const made = (me = A, to = bundle, forge = {}) => send(initiate(me, to, ea, kem, {}), cat(H(ascii('ratchet')), zero(8)), { counter: 1 }, forge);
  const good = made();
  const over = (raw, at, bytes) => cat(raw.slice(0, at), bytes, raw.slice(at + bytes.length));
  must(!refuses(() => accept(B, prekey, good, now)), 'a good first flight is refused');
  const claimed = { ...A, ik: H(ascii('a key of somebody else')) }; // names itself and holds its own key only
  const thief = initiate(claimed, bundle, ea, kem, {});
  const block = cat(A.user, A.sig, x25519.getPublicKey(A.ik), A.head);
  const EA = x25519.getPublicKey(ea), o = opening(bundle.hash, EA, thief.prefix.slice(41, 1129), dh(ea, bundle.spk), dh(ea, bundle.ik), ml_kem768.encapsulate(bundle.pq, kem).sharedSecret);
  thief.prefix = cat(thief.prefix.slice(0, 1129), seal(o.kid, zero(12), o.t1, block));
  const cases = {
    'a prekey that is known': over(good, 1, [good[1] ^ 1]), 'an ephemeral key of small order': over(good, 9, zero(32)), 'the ephemeral key is not altered': over(good, 9, [good[9] ^ 1]),
    'the ciphertext is not altered': over(good, 41, [good[41] ^ 1]), 'the identity block is not altered': over(good, 1284, [good[1284] ^ 1]),
    'the message is not altered': over(good, good.length - 1, [good[good.length - 1] ^ 1]), 'a message stands behind the prefix': good.slice(0, 1285), 'a size class': cat(good, [0]),
    'made for this bundle': made(A, { ...bundle, hash: H(bundle.hash) }), 'who seals it holds the identity key it names': send(thief, cat(H(ascii('ratchet')), zero(8)), { counter: 1 }),
    'not from this device itself': made({ ...B }),
  };
  return Object.entries(cases).map(([rule, envelope]) => {
    must(rule === 'not from this device itself' || refuses(() => accept(B, prekey, envelope, now)), `not refused: ${rule}`);
    return { rule, envelope: hex(envelope) };
  });
}

export function build(v) {
  const A = deviceOf(v.initiator), B = deviceOf(v.responder), p = v.prekey;
  const raw = bundleOf({ user: B.user, sign: bin(v.responder.sign_seed), ik_scalar: B.ik, spk_scalar: bin(p.spk), pq_seed: bin(p.pq_seed), generation: p.generation, number: p.number, issued: p.issued, not_after: p.not_after, flags: 0 });
  const pq = ml_kem768.keygen(bin(p.pq_seed)), hash = H(raw);
  const bundle = { hash, spk: x25519.getPublicKey(bin(p.spk)), ik: x25519.getPublicKey(B.ik), pq: pq.publicKey }, prekey = { hash, spk: bin(p.spk), pq: pq.secretKey };
  const derived = {};
  const sides = { initiator: initiate(A, bundle, bin(v.handshake.ea), bin(v.handshake.kem_entropy), derived) };
  const handshake = { ea: v.handshake.ea, kem_entropy: v.handshake.kem_entropy };
  for (const name of ['d1', 'd2', 'ss', 'ct', 't1', 'ck', 'kid', 'identity_block', 'sealed_identity', 'd3', 'root', 'head_a', 'head_b', 'ad']) handshake[name] = hex(derived[name]);

  const received = {}, steps = [], first = [];
  let firstChain;
  for (const step of v.steps) {
    const { by } = step;
    if (step.opens === undefined) {
      const envelope = send(sides[by], bin(step.entropy), step);
      firstChain ??= { ...sides[by].send };
      if (envelope[0] === 2) first.push({ step: steps.length, prekey: hex(envelope.slice(1, 9)), ea: hex(envelope.slice(9, 41)) });
      steps.push({ by, entropy: step.entropy, ...Object.fromEntries([...BODY, 'standing'].filter((f) => step[f]).map((f) => [f, step[f]])), envelope: hex(envelope) });
      continue;
    }
    const envelope = bin(steps[step.opens].envelope);
    const role = sides[by]?.pq.role;
    let body;
    try {
      if (sides[by]) body = receive(sides[by], envelope, step.now, bin(step.kem_entropy));
      else [sides[by], body] = accept(B, prekey, envelope, step.now);
    } catch (err) {
      if (!step.fails) throw err;
    }
    const { opens, now, kem_entropy } = step;
    steps.push({ by, opens, now, ...(body && steps[opens].standing && { standing: body.standing ?? [] }), ...(role === IDLE && sides[by].pq.role === ANSWERED && { kem_entropy }), ...(!body && { fails: true }) });
    if (!body) continue;
    received[by] = now;
    for (const f of BODY) must(body[f] === steps[opens][f], `step ${steps.length - 1}: ${f}`);
  }
  const states = [stateOf(sides.initiator, B, hash.slice(0, 8), received.initiator), stateOf(sides.responder, A, hash.slice(0, 8), received.responder)];
  return {
    about: 'Sessions (docs/protocol.md, section 2). Bytes are hex, now is unix milliseconds. handshake holds the initiator\'s secrets and everything both sides derive; steps are carried out in order, each by one side: "entropy" is what sealing draws (X25519 private key 32 if a DH step is due, then guard 8, then the ML-KEM seed 64 if an epoch is proposed); "opens" is the index of the step whose envelope is opened, with "fails" where it must not open and with "kem_entropy" where an epoch is answered. first_flights are the keys of the cache of first flights. states are both sides\' stored state at the end; refused must not open for the initiator then, nor refused_first for the responder without a session.',
    initiator: v.initiator, responder: v.responder,
    prekey: { spk: p.spk, pq_seed: p.pq_seed, generation: p.generation, number: p.number, issued: p.issued, not_after: p.not_after, bundle: hex(raw) },
    handshake, derivations: derivations(firstChain), steps, first_flights: first, states: states.map(hex),
    refused: refused(sides.responder, sides.initiator, received.initiator),
    refused_first: refusedFirst(A, B, bundle, prekey, received.responder),
  };
}
