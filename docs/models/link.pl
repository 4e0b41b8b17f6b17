% Device linking by link, docs/protocol.md, section 9. The link carries a secret s; the old device o (admin) and the new
% device n exchange hello, welcome, record, listed over a network that the attacker owns, transport left out.
:- module(link, [result/3]).
:- use_module(terms).

mac(Opts, Label, Text, M) :- ( memberchk(no_mac, Opts) -> M = c(none) ; M = h([c(Label), n(s), Text]) ).
info(Opts, Hello, I) :- ( memberchk(no_info, Opts) -> I = c(none) ; I = h([c(snapshot), n(s), Hello]) ).

hello(Opts, Kem, D, IK, [Body, M]) :- Body = [c(linkid), pk(Kem), vk(D), dh([IK])], mac(Opts, hello, Body, M).

% HPKE, base mode: whoever has the public key can seal; the secret is in info alone.
welcome(Opts, Kem, R, Hello, User, Text, [ct(Kem, R), aead(h([c(hpke), ss(Kem, R), I]), [], [c(User), Text])]) :-
    info(Opts, Hello, I).

record(Opts, D, Hello, [sig(D, [c(record), c(u), vk(D)]), M]) :-
    mac(Opts, record, [Hello, sig(D, [c(record), c(u), vk(D)])], M).

% run(Opts, Leaks, K, Events): the new device says hello; the old one answers one hello (with used_again: two); the new
% one takes one welcome; the old one lists on a record. `late` in Opts: the secret leaks after the exchange.
run(Opts, Leaks, K, Events) :-
    findall(n(L), ( member(L, Leaks), \+ memberchk(late, Opts) ), Ls),
    learn([n(x), n(r), n(d(m)), n(kem(m)) | Ls], [], K0),
    hello(Opts, kem(n), d(n), ik(n), H), learn([H], K0, K1),
    serve(Opts, 1, K1, K2, Used, E1),
    take_in(Opts, H, K2, K3, E2),
    findall(n(L), member(L, Leaks), Later), learn(Later, K3, K4),
    ( memberchk(used_again, Opts) -> serve(Opts, 2, K4, K5, Used2, E3), list(Opts, Used2, K5, K, E4)
    ; list(Opts, Used, K4, K, E4), E3 = [] ),
    append([E1, E2, E3, E4], Events).

% the old device: any hello that verifies; the snapshot goes to the key in it
serve(Opts, J, K0, K, used(Kem, D, H), [served(D)]) :-
    member(Kem-D-IK, [kem(n)-d(n)-ik(n), kem(m)-d(m)-x, kem(m)-d(n)-ik(n), kem(n)-d(m)-x]),
    hello(Opts, Kem, D, IK, H), can(K0, H),
    welcome(Opts, Kem, enc(J), H, u, n(snapshot), W), learn([W], K0, K).
serve(_, _, K, K, none, []).

% the new device: any welcome for its hello that opens and is of the user that the link names
take_in(Opts, H, K0, K, [taken(Text)]) :-
    ( member(R, [enc(1)]), Text = n(snapshot) ; R = r, Text = c(forged) ),
    welcome(Opts, kem(n), R, H, u, Text, W), can(K0, W),
    record(Opts, d(n), H, Rec), learn([Rec], K0, K).
take_in(_, _, K, K, []).

% the old device: a record of the keys in the hello that it answered
list(Opts, used(_, D, H), K, K, [listed(D)]) :- record(Opts, D, H, Rec), can(K, Rec).
list(_, _, K, K, []).

% result(Opts, Leaks, Broken)
result(Opts, Leaks, Broken) :-
    findall(P, ( run(Opts, Leaks, K, Es), breaks(P, K, Es) ), Ps), sort(Ps, Broken).

breaks(snapshot_secret, K, _) :- can(K, n(snapshot)).
breaks(foreign_snapshot, _, Es) :- member(taken(c(forged)), Es).
breaks(foreign_device, _, Es) :- member(listed(d(m)), Es).
