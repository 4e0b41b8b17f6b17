package api

// table is every method. It is filled at start: handlers look at it.
var table []Method

func init() {
	table = []Method{
		method("status", ScopeRead, "status", "The node at a glance.", status),
		method("identity", ScopeRead, "identity", "Who this device is.", stored(ownIdentity)).offline(),

		method("profile", ScopeRead, "profile", "What we say of ourselves, and the DNS records that prove it.", stored(profile)).offline(),
		method("profile_set", ScopeManage, "profile", "Change what we say of ourselves; contacts are told.", profileSet),

		method("send", ScopeTalk, "sent", "Send a text, files or both to a contact. The answer means that it is on our disk and will be tried for 30 days.", send).slow(),
		method("file_save", ScopeTalk, "saved", "Write a file of a message into a folder, as soon as it is here; it is fetched first if need be.", fileSave).slow(),
		method("transfers", ScopeRead, "transfers", "Files on their way, and those that failed.", transfers).slow(),
		method("transfer_cancel", ScopeTalk, "transfer", "Stop fetching or uploading a file. What is here stays.", turn(transferCancel)),
		method("message_wait", ScopeRead, "waited", "Wait until a message has come so far, by events.", wait).slow(),
		method("message_status", ScopeRead, "message_status", "How far a message came, for each device.", stored(messageStatus)).offline(),
		method("trace", ScopeRead, "trace", "What was tried for a message.", stored(trace)).offline(),
		method("rearm", ScopeTalk, "message_status", "Give a message that expired, or is about to, another 30 days.", rearm),
		method("inbox", ScopeRead, "inbox", "Every conversation with its newest message.", stored(inbox)).offline(),
		method("messages", ScopeRead, "messages", "The newest messages of a conversation. Reading marks nothing as read.", stored(messages)).offline(),
		method("search", ScopeRead, "found", "Messages by their words, the newest first.", stored(searched)).offline(),
		method("message", ScopeRead, "message", "One message with its edits and reactions, also one that its reader deleted.", stored(message)).offline(),
		method("location_send", ScopeTalk, "sent", "Send a place.", turn(spoken(locationSend))),
		method("card_send", ScopeTalk, "sent", "Introduce a contact.", turn(spoken(cardSend))),
		method("custom_send", ScopeTalk, "sent", "Send content of a bot or another program, with a text for whoever does not know it.", turn(spoken(customSend))),
		method("react", ScopeTalk, "message", "React to a message, or take the reaction back.", turn(spoken(react))),
		method("edit", ScopeTalk, "message", "Replace the text of a message of ours: within 15 minutes, at most 5 times.", turn(spoken(edit))),
		method("unsend", ScopeTalk, "message", "Take a message of ours back, within 2 minutes.", turn(spoken(unsend))),
		method("message_delete", ScopeTalk, "message", "Hide a message on our own devices; after 30 days it is erased.", turn(spoken(messageDelete))),
		method("message_undelete", ScopeTalk, "message", "Show a deleted message again.", turn(spoken(messageUndelete))),
		method("typing", ScopeTalk, "typing_said", "Say that a person is writing, or stopped: to whoever has a stream to us, and kept nowhere.", turn(typing)),
		method("chat_set", ScopeTalk, "chat", "Change settings of a conversation: pin, mute, draft, timer, read receipts.", turn(chatSet)),
		method("settings", ScopeRead, "settings", "Settings of the whole person.", stored(settings)).offline(),
		method("settings_set", ScopeTalk, "settings", "Change settings of the whole person.", turn(settingsSet)),
		method("mark_read", ScopeTalk, "marked_read", "Say that a person has seen a conversation; sends read receipts.", turn(markRead)),

		method("invite_create", ScopeManage, "invite", "Make an invite link: it works once, until it expires.", turn(inviteCreate)),
		method("join", ScopeManage, "contact", "Take up another person's invite link.", turn(join)),
		method("contacts", ScopeRead, "contacts", "Everybody we know.", look(contacts)).offline(),
		method("contact", ScopeRead, "contact", "One contact, with the safety number.", look(contact)).offline(),
		method("contact_add", ScopeManage, "contact", "Ask somebody without an invite to be a contact: by the user id in full, or by a name under a domain.", contactAdd),
		method("contact_rename", ScopeManage, "contact", "Give a contact another handle.", turn(contactRename)),
		method("contact_accept", ScopeManage, "contact", "Accept a request, or a contact's new identity.", turn(contactAccept)),
		method("contact_ignore", ScopeManage, "contact", "Put a request aside. Whoever asked learns nothing of it.", turn(contactIgnore)),
		method("contact_verify", ScopeManage, "contact", "Compare the safety number that a contact reads out, or the code that its device shows, with ours.", turn(contactVerify)),
		method("contact_block", ScopeManage, "contact", "Block a contact, or let it in again.", turn(contactBlock)),

		method("devices", ScopeRead, "devices", "Every device of ours.", look(devices)).offline(),
		method("device_offer", ScopeManage, "device_offer", "Make a link with which a new device joins us.", turn(deviceOffer)),
		method("history", ScopeRead, "history", "How the past was compared with each other device of ours.", stored(history)).offline(),
		method("history_ask", ScopeManage, "history", "Compare what every device of ours has of the past, and fetch what this one lacks.", turn(historyAsk)),
		method("device_remove", ScopeManage, "device", "Remove a device of ours.", deviceRemove),
		method("leave", ScopeManage, "left", "Take this device, or the whole person, out of the network. Nothing is deleted here.", leave),

		method("mailbox", ScopeRead, "mailbox", "Our mailbox: which relays hold mail for us.", look(mailbox)).offline(),
		method("relay_explain", ScopeRead, "explanation", "Why our relays were elected: the election is run again; or what is known of a contact's relays.", look(explain)).offline(),
		method("relay_status", ScopeRead, "relay", "This node as a relay for others.", relayStatus),
		method("relay_enable", ScopeManage, "relay", "Serve as a relay, now and after the next start.", relayEnable),
		method("relay_disable", ScopeManage, "relay", "Stop serving as a relay.", relayDisable),
		method("relay_limits", ScopeManage, "relay", "Change limits of this relay, now and after the next start.", relayLimits),
		method("relay_drain", ScopeManage, "relay", "Leave as a relay: hand every box over to others. Returns when it has begun; relay_status shows how far it is.", relayDrain),
		method("relay_scrub", ScopeManage, "relay_scrub", "Read and check everything that this relay stores; what is spoilt is fetched from another.", relayScrub).slow(),
		method("peers", ScopeRead, "peers", "Every connection.", peers),
		method("ping", ScopeRead, "ping", "Round trip to the devices of a contact, or to a peer.", ping).slow(),
		method("netcheck", ScopeRead, "netcheck", "What the network allows, finding by finding.", netcheck).slow(),

		method("events", ScopeRead, "events", "A page of events; the stream is GET /v1/events.", stored(eventsPage)).offline(),
		method("consumer_set", ScopeTalk, "consumer", "Keep the cursor of a named consumer of events.", turn(consumerSet)),
	}
	table = append(append(table, groupMethods()...), proofMethods()...)
	table = append(table, backupMethods()...)
}
