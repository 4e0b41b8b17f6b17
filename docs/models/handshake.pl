% The handshake of docs/protocol.md, section 2.1, with the first message and its first answer (2.2, 2.3), the device
% list and the bundle (1.5, 1.6), in the order and with the inputs of the document.
%
% Honest are the users a and b with one device each; m is the attacker's user. Keys of a device X: ak(X) account,
% d(X) signing, ik(X) identity, spk(X) and pq(X) prekeys. The attacker is the network and the directory: it gives every
% reader whatever it can make, and may know any set of the honest keys from the start (leaks).
:- module(handshake, [found/4, alike/2]).
:- use_module(terms).

% ---- what everybody publishes ----

user(a). user(b). user(m).

list(U, D, IK, sig(ak(U), [c(list), c(U), vk(D), IK])).
bundle(U, D, IK, Spk, Pq, sig(D, [c(bundle), c(U), vk(D), IK, Spk, pk(Pq)])).

published(X, [L, B]) :-
    list(X, d(X), dh([ik(X)]), L),
    bundle(X, d(X), dh([ik(X)]), dh([spk(X)]), pq(X), B).

% start(Leaks, K): the attacker's knowledge before anything happens.
start(Leaks, K) :-
    published(a, Pa), published(b, Pb),
    findall(n(X), member(X, Leaks), Ls),
    learn([Pa, Pb, n(ak(m)), n(d(m)), n(x), n(pq(m)), n(r) | Ls], [], K).

% ---- what the attacker may put where a point, a device or a KEM key stands (the bound) ----

device(d(a)). device(d(b)). device(d(m)).
kem(pq(a)). kem(pq(b)). kem(pq(m)).

% A point of any place may stand in any other; in a narrow search only points that belong there and the attacker's own.
point(Opts, Place, K, dh([X])) :-
    ( memberchk(narrow, Opts) -> belongs(Place, X) ; belongs(_, X) ), can(K, dh([X])).
point(_, _, _, dh([x])).
point(Opts, Place, K, dh([X])) :-
    ( memberchk(narrow, Opts) -> Place == e ; true ), member(dh([X]), K), X =.. [e|_].
belongs(ik, ik(a)). belongs(ik, ik(b)). belongs(spk, spk(a)). belongs(spk, spk(b)).

% ---- initiator: what the directory says of a user, and the first flight to it ----

% believes: list and bundle of user T that pass the reader's checks (1.5 to 1.6, two-way link).
believes(Opts, K, T, D, IK, Spk, Pq, B) :-
    device(D), point(Opts, ik, K, IK),
    ( memberchk(no_list, Opts) -> true ; list(T, D, IK, L), can(K, L) ),
    ( memberchk(no_user_in_bundle, Opts) -> user(U) ; U = T ),
    point(Opts, spk, K, Spk), kem(Pq),
    bundle(U, D, IK, Spk, Pq, B), can(K, B).

initiate(Opts, init(P, I, Ts), K0, K, start(P, I, T, D, Ad, Keys, Text, Kid)) :-
    member(T, Ts),
    believes(Opts, K0, T, D, IK, Spk, Pq, B), D \== d(P),
    E = e(P, I), Ra = e(P, I, ratchet), R = rnd(P, I),
    times(E, Spk, D1), times(E, IK, D2), times(ik(P), Spk, D3),
    opening(Opts, B, dh([E]), ct(Pq, R), D1, D2, ss(Pq, R), T1, Ck, Kid),
    Block = [c(P), vk(d(P)), dh([ik(P)])],
    Eid = aead(Kid, T1, Block),
    finish(Opts, T1, Ck, Eid, dh([ik(P)]), D3, Block, Keys, Ad),
    times(Ra, Spk, D4),
    Text = n(text(P, I)),
    message(Keys, Ad, D4, dh([Ra]), Text, Hdr, Body),
    learn([[dh([E]), ct(Pq, R), Eid, Hdr, Body]], K0, K).

% steps 3 to 6 of 2.1
opening(Opts, B, E, Ct, D1, D2, Ss, T1, Ck, Kid) :-
    ( memberchk(no_bundle_hash, Opts) -> Bh = c(none) ; Bh = h([c(bh), B]) ),
    ( memberchk(no_kem, Opts) -> S = c(none) ; S = Ss ),
    ( memberchk(no_identity_dh, Opts) -> D = c(none) ; D = D2 ),
    T1 = h([c(hs1), Bh, E, Ct]),
    Ck = h([c(ck), T1, D1, D, S]),
    Kid = h([c(id), Ck, T1]).

finish(Opts, T1, Ck, Eid, IK, D3, Block, keys(Root, Hka, Nhkb), Ad) :-
    ( memberchk(no_sender_dh, Opts) -> D = c(none) ; D = D3 ),
    T2 = h([T1, Eid, IK]),
    Prk = h([c(ck2), Ck, D]),
    Root = h([c(root), Prk, T2]), Hka = h([c(hka), Prk, T2]), Nhkb = h([c(nhkb), Prk, T2]),
    Ad = h([c(ad), T2, Block]).

% first message: sending step to the prekey, header under HKa, body under the first message key
message(keys(Root, Hka, _), Ad, D4, Ra, Text, Hdr, Body) :-
    Hdr = aead(h([c(hdr), Hka]), Ad, [Ra]),
    Body = aead(h([c(mk), Root, D4]), [Ad, Hdr], Text).

% the first answer: receiving step, then a sending step of the responder's own
answer(keys(Root, _, Nhkb), Ad, D4, D5, Rb, Text, Hdr, Body) :-
    Hdr = aead(h([c(hdr), Nhkb]), Ad, [Rb]),
    Body = aead(h([c(mk), h([c(root), Root, D4]), D5]), [Ad, Hdr], Text).

% ---- responder ----

% accept: one first flight that the attacker brings. Event: who it is taken to be from, with which keys and text.
accept(Opts, resp(Q, J), Before, K0, K, accept(Q, J, U, D, Ad, Text, E)) :-
    bundle(Q, d(Q), dh([ik(Q)]), dh([spk(Q)]), pq(Q), B),
    flight(Opts, K0, Q, E, Ct, R),
    ( memberchk(no_cache, Opts) -> true ; \+ memberchk(accept(Q, _, _, _, _, _, E), Before) ),
    times(spk(Q), E, D1), times(ik(Q), E, D2),
    opening(Opts, B, E, Ct, D1, D2, ss(pq(Q), R), T1, Ck, Kid),
    block(Opts, K0, Kid, T1, Block, Eid), Block = [c(U), vk(D), IK], D \== d(Q),
    list(U, D, IK, L), can(K0, L),
    owned(Opts, K0, U, D, IK),
    times(spk(Q), IK, D3),
    finish(Opts, T1, Ck, Eid, IK, D3, Block, Keys, Ad),
    ( memberchk(early, Opts) -> Text = c(nothing), K = K0
    ; enclosed(K0, Q, Keys, Ad, Ra, Text),
      Rb = e(Q, J, answer),
      times(spk(Q), Ra, D4), times(Rb, Ra, D5),
      answer(Keys, Ad, D4, D5, dh([Rb]), n(reply(Q, J)), Hdr, Body),
      learn([[Hdr, Body]], K0, K) ).

flight(Opts, K, Q, dh([X]), ct(pq(Q), R), R) :-
    point(Opts, e, K, dh([X])), ( R = r ; member(ct(pq(Q), R), K) ), can(K, ct(pq(Q), R)).

% the identity block: one that somebody sealed for these keys, or one of the attacker's own
block(_, K, Kid, T1, Block, aead(Kid, T1, Block)) :- member(aead(Kid, T1, Block), K).
block(Opts, K, Kid, T1, Block, aead(Kid, T1, Block)) :-
    can(K, Kid), user(U), device(D), can(K, vk(D)), point(Opts, ik, K, IK),
    Block = [c(U), vk(D), IK].

% owned: a device under whose key two users' lists are known is the user's that its own record names (section 11)
owned(Opts, K, U, D, IK) :-
    ( memberchk(no_owner, Opts) -> true
    ; U \== m, D == d(U) -> true
    ; D == d(m) -> true
    ; bundle(U, D, IK, Spk, Pq, B), point(Opts, spk, K, Spk), kem(Pq), can(K, B) -> true ).

enclosed(K, Q, Keys, Ad, Ra, Text) :-
    Keys = keys(_, Hka, _),
    member(aead(h([c(hdr), Hka]), Ad, [Ra]), K), times(spk(Q), Ra, D4),
    message(Keys, Ad, D4, Ra, Text, _, Body), member(Body, K).
enclosed(K, Q, Keys, Ad, Ra, c(forged)) :-
    Ra = dh([x]), times(spk(Q), Ra, D4),
    message(Keys, Ad, D4, Ra, c(forged), Hdr, Body),
    can(K, Hdr), can(K, Body).

% confirm: the initiator takes an answer. forged means that the attacker made it.
confirmed(K, start(P, I, _, _, Ad, Keys, _, _), Whose) :-
    Keys = keys(Root, _, Nhkb), Ra = e(P, I, ratchet),
    member(aead(h([c(mk), Root, D4]), [Ad, _], n(text(P, I))), K),
    ( member(aead(h([c(hdr), Nhkb]), Ad, [_]), K),
      member(aead(h([c(mk), h([c(root), Root, D4]), _]), [Ad, _], n(reply(Q, _))), K),
      Whose = Q
    ; times(Ra, dh([x]), D5),
      answer(Keys, Ad, D4, D5, dh([x]), c(forged), Hdr, Body),
      can(K, Hdr), can(K, Body), Whose = forged ).

% ---- all runs of a scenario within the bound ----

% Initiators go first, in their order, then responders: an initiator takes nothing from a responder, and what the
% attacker knows only grows, so other orders give it nothing that this one does not.
run(Opts, Leaks, Roles, K, Events) :- start(Leaks, K0), steps(Roles, Opts, [], Events, K0, K).

steps([], _, Es, Es, K, K).
steps([Role|Roles], Opts, Es0, Es, K0, K) :-
    ( Role = resp(_, _), K1 = K0, Es1 = Es0 % nothing came that it would accept
    ; step(Role, Opts, Es0, K0, K1, E), Es1 = [E|Es0] ),
    steps(Roles, Opts, Es1, Es, K1, K).

step(init(P, I, Ts), Opts, _, K0, K, E) :- initiate(Opts, init(P, I, Ts), K0, K, E).
step(resp(Q, J), Opts, Es, K0, K, E) :- accept(Opts, resp(Q, J), Es, K0, K, E).

% found(Opts, Leaks, Roles, Broken-Runs): the properties that some run breaks, and how many runs there are.
found(Opts, Leaks, Roles, Broken-N) :-
    State = state([], 0),
    forall(run(Opts, Leaks, Roles, K, Es), look(State, K, Es)),
    State = state(Found, N), msort(Found, Broken).

look(State, K, Es) :-
    State = state(Found, N), N1 is N + 1, nb_setarg(2, State, N1),
    findall(P, (property(P), \+ memberchk(P, Found), once(broken(P, K, Es))), New),
    ( New == [] -> true ; append(New, Found, All), nb_setarg(1, State, All) ).

property(P) :- member(P, [secrecy, forward_secrecy, harvest, prekeys_kept, sender_hidden, sender, responder, key_share, replay, owner]).

% ---- what must hold: broken(Property, Knowledge, Events) ----

honest(a). honest(b).
long_term([n(ak(a)), n(d(a)), n(ik(a)), n(ak(b)), n(d(b)), n(ik(b))]).

% a text for an honest user is read by the attacker: during the session, after all long-term keys leak and the
% prekeys are deleted, after discrete logarithms are found in what was recorded
broken(secrecy, K, Es) :- to_honest(Es, Text, _), can(K, Text).
broken(forward_secrecy, K, Es) :- long_term(Ls), learn(Ls, K, K1), to_honest(Es, Text, _), can(K1, Text).
broken(harvest, K, Es) :- shor(K, K1), to_honest(Es, Text, _), can(K1, Text).
broken(prekeys_kept, K, Es) :-
    long_term(Ls), learn([n(spk(a)), n(pq(a)), n(spk(b)), n(pq(b))|Ls], K, K1), to_honest(Es, Text, _), can(K1, Text).
% the sender's identity block opens to the attacker
broken(sender_hidden, K, Es) :- to_honest(Es, _, Kid), can(K, Kid).
% a text shown as an honest user's was not sent by it, to this device, under these keys
broken(sender, _, Es) :-
    member(accept(Q, _, U, _, Ad, Text, _), Es), honest(U), U \== Q,
    \+ ( member(start(U, _, Q, d(Q), Ad, _, Sent, _), Es), ( Text == Sent ; Text == c(nothing) ) ).
% the answer to a flight for an honest user is not that user's
broken(responder, K, Es) :-
    member(S, Es), S = start(_, _, T, _, Ad, _, _, _), honest(T), confirmed(K, S, Whose),
    \+ ( Whose == T, member(accept(T, _, _, _, Ad, _, _), Es) ).
% two sides of one session disagree about who they are
broken(key_share, _, Es) :-
    member(start(P, _, T, D, Ad, _, _, _), Es), member(accept(Q, _, U, Du, Ad, _, _), Es),
    \+ ( T == Q, D == d(Q), U == P, Du == d(P) ).
% a first flight counts twice
broken(replay, _, Es) :- member(accept(Q, J1, _, _, Ad, _, _), Es), member(accept(Q, J2, _, _, Ad, _, _), Es), J1 @< J2.
% a device of an honest user passes for somebody else's
broken(owner, _, Es) :-
    member(accept(Q, _, U, D, _, _, _), Es), member(D, [d(a), d(b)]), D \== d(U), U \== Q.

to_honest(Es, Text, Kid) :- member(start(_, _, T, _, _, _, Text, Kid), Es), honest(T).

% ---- who looks at two first flights to b, and has these keys: can the senders be told apart? ----

% A passive attacker sees the same in both if what he cannot open is a box and fresh names have no owner.
alike(Leaks, Answer) :- seen(Leaks, a, X), seen(Leaks, m, Y), ( X == Y -> Answer = yes ; Answer = no ).

seen(Leaks, P, Seen) :-
    start([ik(a), d(a), ak(a), ik(m) | Leaks], K0),
    once(initiate([], init(P, 1, [b]), K0, K, _)),
    Flight = [dh([e(P, 1)]) | _], member(Flight, K), !,
    pattern(K, Flight, Seen).

pattern(K, T, P) :- is_list(T), !, maplist(pattern(K), T, P).
pattern(K, aead(Key, _, M), P) :- !, ( can(K, Key) -> pattern(K, M, P) ; P = box ).
pattern(_, T, P) :- T =.. [F|Args], maplist(unowned, Args, Others), P =.. [F|Others].

unowned(e(_, N), e(N)) :- !.
unowned(rnd(_, N), rnd(N)) :- !.
unowned([T|Ts], Us) :- !, maplist(unowned, [T|Ts], Us).
unowned(T, T).
