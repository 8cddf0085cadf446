"""Reads what a customer's answer asks for: no more texts, texts again, or neither. Pure, in English and Spanish.

The Federal Communications Commission names seven words that end consent in any answer (47 CFR 64.1200(a)(10)): stop,
quit, end, revoke, opt out, cancel and unsubscribe. A request in other words counts as well if a reasonable person
understands it. A wrong guess costs something either way, so an answer with such a word that asks for something else
("please stop by") is left to a person.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from enum import StrEnum

#: Words in a short sentence.
_BRIEF = 9
#: Characters that are read. A request to stop is short, and a text message has at most 1,600.
_LONGEST = 2000


class Meaning(StrEnum):
    """What a reply asks for."""

    STOP = "stop"  #: no more texts: an opt-out
    UNCLEAR = "unclear"  #: perhaps no more texts: a person has to decide
    START = "start"  #: texts again: offers to remove the opt-out
    OTHER = "other"


def meaning_of(text: str) -> Meaning:
    """What `text` asks for."""
    whole = _plain(text[:_LONGEST])
    said = _QUOTED_FOOTER.sub(" ", whole)
    if said != whole and not _words(said):
        return Meaning.STOP
    sentences = [words for part in _BREAK.split(_REACTION.sub(" ", said)) if (words := _words(part))]
    if _asks_to_stop(sentences):
        return Meaning.STOP
    if any(_START.fullmatch(sentence) for sentence in sentences):
        return Meaning.START
    hints = any(_HINT.search(_HARMLESS.sub(" ", part)) or _REQUEST.search(part) for part in sentences)
    return Meaning.UNCLEAR if hints else Meaning.OTHER


def _asks_to_stop(sentences: list[str]) -> bool:
    others = [sentence for sentence in sentences if not _POLITE.fullmatch(sentence)]
    if others and all(_ALONE.fullmatch(sentence) for sentence in others):
        return True
    ours = [sentence for sentence in sentences if not _ELSEWHERE.search(sentence)]
    if any(_CLEAR.fullmatch(sentence) or _is_brief_stop(sentence) for sentence in ours):
        return True
    return not any(_INSTEAD.search(sentence) for sentence in sentences) and any(map(_has_request, ours))


def _is_brief_stop(sentence: str) -> bool:
    """Whether this is a short sentence that begins or ends with "stop"."""
    if len(sentence.split()) > _BRIEF or _CAR_TROUBLE.search(sentence):
        return False
    return bool(_STOP_FIRST.fullmatch(sentence) or _STOP_LAST.fullmatch(sentence))


def _has_request(sentence: str) -> bool:
    return any(not _NEGATED.search(sentence[: found.start()]) for found in _REQUEST.finditer(sentence))


# --- one spelling for all


def _plain(text: str) -> str:
    """Small letters without accents and with plain quotes; a letter that is repeated thrice or more counts once."""
    text = text.replace("\N{OCTAGONAL SIGN}", " stop ")
    letters = unicodedata.normalize("NFKD", text).casefold().translate(_LOOK_ALIKES)
    kept = "".join(c for c in letters if unicodedata.category(c) not in ("Mn", "Cf", "Me"))
    kept = re.sub(r"(?<=[^\W\d_])['’‘`´ʼ](?=[^\W\d_])", "", kept)
    kept = _OPT_OUT_JOINED.sub("optout", _SIGNATURE.sub(" ", kept))
    kept = _STOP_DISGUISED.sub("stop", _UNSUBSCRIBE_APART.sub("unsubscri", kept))
    return _SPELLED_OUT.sub(_joined, re.sub(r"([a-z])\1{2,}", r"\1", kept))


def _joined(match: re.Match[str]) -> str:
    """`s t o p` and `s.t.o.p` as one word."""
    return re.sub(r"[^a-z]", "", match[0])


def _words(sentence: str) -> str:
    """The words of a sentence with one blank between them, each in its usual spelling."""
    words = re.sub(r"[^\w]|_", " ", sentence).split()
    return " ".join(_MISSPELLED.get(word, word) for word in words)


_SPELLED_OUT = re.compile(r"(?<!\w)[a-z](?:[ .*_-]{1,2}[a-z](?!\w)){2,}")
_OPT_OUT_JOINED = re.compile(r"\bopt[\W_]{1,3}out\b")
_UNSUBSCRIBE_APART = re.compile(r"\bun[\W_]{1,3}subscri")
#: `5TOP`, `$TOP`, `STOPSTOP` and `STOP9`.
_STOP_DISGUISED = re.compile(r"(?<!\w)(?:[s5$]t[o0]p)+\d*(?!\w)")
#: Cyrillic and Greek letters and small capitals that look like Latin letters.
_LOOK_ALIKES = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0455\u0456\u0442\u043f\u0432\u03bf\u03c1\u03c4\u03b1\u03b5\u03b9"
    "\u1d00\u0299\u1d04\u1d05\u1d07\u026a\u029f\u0274\u1d0f\u1d18\u01eb\u0280\ua731\u1d1b\u1d1c",
    "aeopcyxsitpboptaeiabcdeilnopqrstu",
)
#: What a phone appends.
_SIGNATURE = re.compile(r"\n\W*(?:sent (?:from|via)|get outlook|enviado desde)\b.*", re.DOTALL)
_BREAK = re.compile(
    r"[.!?;:,\n\r()\u2026\u2014\u2013\u00a1\u00bf/|]|\s-+\s|[\U0001F000-\U0001FAFF\u2600-\u27BF]"
)
_MISSPELLED = {
    wrong: right
    for right, all_wrong in {
        "stop": "stp sotp stpo stopp sstop st0p stopit stoop ctop",
        "unsubscribe": "unsub unsuscribe unsubcribe unsubscibe unsubscrib unsubscribed unsubscribes unsubribe"
        " unsubscribing unscribe unsubscibed unsuscribed unsubcribed unsubscride",
        "optout": "optouts optingout",
        "quit": "quitt",
        "cancel": "cancell cancle cansel",
        "dont": "dnt",
        "your": "ur",
        "you": "u yall",
        "please": "pls plz pleas plse",
        "texts": "txts textos",
        "text": "txt texto",
        "messages": "msgs msg mensages mensajes mensaje sms",
        "texting": "txting",
    }.items()
    for wrong in all_wrong.split()
}

#: `Liked "..."`: a phone reports a reaction as a text that quotes ours, with its opt-out line.
_REACTION = re.compile(
    r"^\W*(?:(?:liked|loved|disliked|emphasized|questioned|laughed at|reacted .{1,12} to|removed an? .{1,20} from"
    r"|le (?:gusto|encanto)|me (?:gusto|encanto)|exclamo|se rio de|pregunto)\s|[^\w\s]{1,8}\s?to\s)"
    r"\s*[\"“”„«](?:.*[\"”»]|.*)",
    re.DOTALL,
)
#: Our opt-out line. An answer can quote it; nothing but the line is a request.
_QUOTED_FOOTER = re.compile(
    r"(?:(?:text|txt|reply|send|responda|envie|escriba)\s+(?:with\s+)?)?\W?stop\W?\s+(?:to|para)\s+"
    r"(?:opt ?out|unsubscribe|end|stop|cancel|quit|no recibir|cancelar|salir)"
)


# --- the words, and what surrounds them


def _any(alternatives: str | Iterable[str]) -> str:
    """One of these words, which are separated by blanks, or of these expressions."""
    words = alternatives.split() if isinstance(alternatives, str) else alternatives
    return f"(?:{'|'.join(words)})"


def _all_of(*expressions: str) -> re.Pattern[str]:
    return re.compile(_any([rf"\b{expression}\b" for expression in expressions]))


_OPT_OUT = "opt(?:ing|ed)? ?out"
_POLITE_WORDS = _any(
    """please thanks thank thankyou thx ty you now today immediately already just ok okay k hi hello hey good morning
    afternoon sorry sir maam asap right away at once for good forever and again por favor porfavor gracias ahora ya
    mismo hola buenas buenos dias tardes inmediatamente so much very kindly dear team guys everyone all enough"""
)
#: The seven words, in English and Spanish, and what phone networks take for them.
_WORD = _any(
    """stop stopall stops quit end revoke cancel cancelled unsubscribe optout remove no.?more no.texts?
    alto pare paren parar basta detener detenga detengan detente cancelar cancele cancelen cancela cancelado anular
    terminar termine terminen revocar revoco salir fin baja desuscribir desuscribirme desuscribirse desuscribe
    discontinue detengase detenganse parenle parele parale
    suspender finalizar eliminar no.?mas opt.?out opting.out opted.out
    (?:stop|end|cancel|quit|cancelar|parar).(?:all|todo|todos) (?:text|reply|send|type).stop"""
)
#: An answer of one of these words and nothing else but courtesies.
_ALONE = re.compile(rf"(?:{_POLITE_WORDS} )*{_WORD}(?: (?:{_WORD}|{_POLITE_WORDS}))*")
_POLITE = re.compile(rf"{_POLITE_WORDS}(?: {_POLITE_WORDS})*")

_STOP = _any("stop desist quit unsubscribe end alto pare paren basta optout")
_ASK = _any(
    [
        "(?:can|could|would|will|wont|cant|wouldnt) you",
        "you (?:need|have|got|must|should)(?: to)?",
        "i (?:said|told you to|asked you to|have asked you to|want you to|need you to|would like you to)",
        "id like you to",
        "when will you",
        "why (?:wont|dont|cant) you",
        "make (?:it|this|these|them)",
        "(?:want|need|like|wish)(?: for)? (?:it|this|these|them|that) to",
    ]
)
#: A sentence that is a request, also among others.
_CLEAR = re.compile(
    rf"(?:no |nope )?(?:{_POLITE_WORDS} )*(?:{_ASK} )?(?:{_POLITE_WORDS} )*"
    rf"(?:stop|quit|cease|unsubscribe|optout|{_OPT_OUT}|(?:stop|quit|end) (?:it|this|that|these|those|them|esto))"
    rf"(?: (?:{_POLITE_WORDS}|{_STOP}|it|me))*"
)

_TEXTS = _any(
    """texts text texting texted messages message messaging messaged contact contacting calls call calling emails
    email emailing sending send bothering bother spamming spam harassing harass notifications notification
    notifying alerts reminders marketing ads advertising advertisements advertisement promotions promos promotional
    soliciting solicitations communications communication communicating subscription subscriptions updates blasts
    bugging blowing pestering campaign campaigns"""
)
_ANY_OF = _any(
    """all any of the these this those your my with me us from further future more to it automated automatic
    service appointment fucking freaking dealership dealer unwanted getting receiving random stupid damn annoying
    constant text a"""
)
_SPANISH_SEND = (
    "(?:(?:mand|envi|text|mensaj|molest|contact|llam|acos|fastidi)(?:ar|ear|iar|e|en|es|ando)"
    "|escrib(?:ir|a|an|as|iendo))(?:me|nos)?"
)
_SPANISH_TEXTS = _any(
    "texts text messages mensajitos suscripcion notificaciones alertas avisos envios llamadas"
)
_SPANISH_ANY_OF = _any(
    "mas mi mis la las los el este estos ese esos esta estas esa esas sus su todos todas tantos de"
)
_LIST = _any(
    """list lists database system distribution texting text messages message mailing contact contacts calling
    marketing phone subscription records communications campaign"""
)
_END = rf"(?: (?:{_POLITE_WORDS}|any ?more|ever|me|us|at all|either|nunca|jamas|mas))*$"
_ME = _any(
    ["me", "us", "my (?:phone number|number|phone|cell|name|info|information)", "this (?:number|phone|cell)"]
)
_REMOVE = _any("remove delete erase scratch")
_OR = _any("or and nor")
_CONTACT = _any("text message messages contact bother spam solicit sms")
#: "You never text me" is a complaint; "I told you, never text me" is a request.
_COMPLAINING = "".join(
    rf"(?<!\b{who} )"
    for who in ["i", "we", "why", "ya", "they", "he", "she", "nobody", "people", "you guys", "you all"]
)
_DONT = (
    rf"(?:{_COMPLAINING}(?:(?<=told you )|(?<=asked you )|(?<!\byou ))(?:do not|dont|never|no longer)"
    r"|please not|(?:can|could|would|will) you (?:please )?not)"
)
_SPANISH_DONT_SEND = "(?:(?:mand|envi|text|mensaj|molest|contact|fastidi)e{1,2}[ns]?|escriba[ns]?)"

#: Words that ask for no more texts, wherever they stand in an answer.
_REQUEST = _all_of(
    rf"(?:stop|quit|cease|end|cancel|halt|discontinue) (?:{_ANY_OF} )*"
    r"(?:texts|texting|messages|messaging|contacting|calling|emailing|sending|bothering|spamming|harassing|alerts"
    r"|notifications|reminders|ads|promotions|promos|promotional|soliciting|solicitations|communications?"
    r"|subscription|subscriptions|blasts|bugging|pestering|marketing|advertising|advertisements)",
    rf"stop (?:with )?(?:{_ANY_OF} )*{_TEXTS}",
    r"unsubscribe(?! (?:from|to) )",
    rf"unsubscribe (?:from|to) (?:{_ANY_OF} )*(?:{_LIST}|{_TEXTS})",
    rf"(?:opt {_ME} out|{_OPT_OUT}|optout)(?! (?:of|from) )",
    rf"(?:opt {_ME} out|{_OPT_OUT}|optout) (?:of|from) (?:{_ANY_OF} )*(?:{_LIST}|{_TEXTS})",
    r"(?:revoke|revoking|withdraw|withdrawing) (?:(?:my|all|any|the) )*(?:consent|permission|authorization|opt ?in)",
    rf"{_REMOVE} {_ME}{_END}",
    rf"^(?:{_POLITE_WORDS} )*take me off{_END}",
    rf"(?:{_REMOVE}|take) {_ME} (?:(?:off|out|from|of) )+(?:{_ANY_OF} )*{_LIST}",
    rf"(?:{_REMOVE}|take) (?:off|from) (?:{_ANY_OF} )*(?:(?:text|texting|mailing|marketing) )?lists?",
    rf"(?:drop|get) {_ME} (?:off|out)(?: (?:of|from))? (?:{_ANY_OF} )*{_LIST}",
    r"(?:do not|dont|no longer) have (?:(?:my|any) )*(?:permission|consent) to (?:text|contact|message)",
    rf"(?:do not|dont|no longer) want (?:these|this|any|them)(?: of (?:these|this|them))?{_END}",
    rf"(?:do not|dont|no longer) (?:want|wish|care|need) to receive (?:these|this|any|them){_END}",
    r"get (?:me|us) off (?:of )?(?:this|these|here)$",
    rf"{_DONT} (?:ever )?send (?:me|us) (?:anything|any){_END}",
    rf"{_DONT} (?:{_POLITE_WORDS} |ever )*(?:(?:call|email) (?:{_ME} )?{_OR} )?{_CONTACT}(?: {_ME})?"
    rf"(?: {_OR} (?:call|email)(?: {_ME})?)?{_END}",
    rf"{_DONT} (?:ever )?(?:{_CONTACT}|call|email|write|reach out to) (?:(?:to|{_ME}) )*(?:any ?more|again|ever)",
    rf"{_DONT} (?:keep )?(?:send|sending|give) (?:{_ANY_OF} )*"
    r"(?:texts|text|messages|message)(?: any ?more| again)?",
    r"(?:do not|dont|no longer|never|not) (?:want|wish|care|like|need|interested in|asked? for|asking for)"
    rf"(?: (?:to|you|be|get|getting|receive|receiving|have|hear|contacted|texted|messaged|{_ANY_OF}))* "
    r"(?:texts|texting|messages|messaging|contacted|texted|messaged|solicited|notifications|promotions|ads"
    r"|hear from you)",
    rf"no more (?:{_ANY_OF} )*{_TEXTS}",
    rf"(?:want|need|like) (?:{_ANY_OF} )*{_TEXTS} to (?:stop|end|cease|quit)",
    r"leave (?:me|us) alone",
    r"lose (?:my|this) (?:number|phone)",
    rf"(?:want|need|like) (?:to be )?(?:off|removed from|taken off|out of) (?:{_ANY_OF} )*{_LIST}",
    # Spanish
    rf"(?:deja|deje|dejen|dejar|pare|paren|para|parar|basta|favor|terminen|cesen) de (?:{_SPANISH_SEND})",
    rf"basta de (?:{_SPANISH_ANY_OF} )*{_SPANISH_TEXTS}",
    rf"no (?:me|nos|le|les) (?:{_SPANISH_SEND}) (?:{_SPANISH_ANY_OF} )*(?:{_SPANISH_TEXTS}|nada)",
    rf"alto a (?:{_SPANISH_ANY_OF} )*{_SPANISH_TEXTS}",
    rf"(?:no (?:me|nos)|ya no|nunca (?:mas )?(?:me|nos)) {_SPANISH_DONT_SEND}{_END}",
    rf"no (?:me |nos )?vuelv(?:a|an|as) a {_SPANISH_SEND}",
    rf"no (?:me|nos) llam(?:e|en|es) (?:mas|nunca){_END}",
    rf"no (?:quiero|deseo|necesito|quisiera|queremos|deseamos|me interesa)(?: (?:que|me|nos|mas|recibir|seguir"
    rf"|recibiendo|tener|sigan?|{_SPANISH_SEND}|{_SPANISH_ANY_OF}))* "
    rf"(?:{_SPANISH_TEXTS}|contacten|molesten|escriban)",
    rf"no mas (?:{_SPANISH_ANY_OF} )*{_SPANISH_TEXTS}",
    r"(?:cancele|cancelar|cancelen|cancela|anular|anule|anulen|terminar|terminen|detener|detengan|detenga|parar|paren"
    rf"|pare|suspender|suspendan|eliminar) (?:{_SPANISH_ANY_OF} )*{_SPANISH_TEXTS}",
    rf"no {_SPANISH_SEND} (?:{_SPANISH_ANY_OF} )*{_SPANISH_TEXTS}",
    r"(?:dar|darme|dame|deme|denme|den|darnos|darse|quiero|solicito)(?: me)?(?: de)?(?: la)? baja",
    rf"(?:qui|sa|bor|eli|remue)[a-z]{{1,7}}(?:me|nos) (?:de|del) (?:{_SPANISH_ANY_OF} )*(?:lista|listas|sistema)",
    rf"(?:quit|borr|elimin)(?:a|e|en|ar)(?:me|nos){_END}",
    r"(?:quit|sac|borr|elimin|remuev)(?:a|e|en|ar) (?:mi|este) (?:numero|telefono|celular|nombre)",
    r"(?:deje|dejen|deja)(?:me|nos)? (?:en paz|tranquil[oa])",
    r"revoc(?:o|ar) (?:mi|el) (?:consentimiento|permiso|autorizacion)",
    r"(?:olviden?|pierdan?) (?:de )?(?:mi|este) numero",
)
#: "Please do not unsubscribe me." "You didn't stop texting me" is a request.
_NEGATED = re.compile(
    r"(?<!\byou )\b(?:dont|do not|not|never|didnt|did not|wont|cant|no)(?: (?:want|mean|meant|say|said|ask|asked"
    r"|try|trying|to|ever|please|need|have|going|wish|me|quiero|deseo|pedi)){0,4} $"
    r"|\btell (?:him|her|them) to $"
)
#: In a sentence with one of these, "stop" or a request can mean something other than our texts.
_ELSEWHERE = _all_of(
    _any(
        "accident accidentally mistake mistakenly undo unintentionally accidente equivocacion por.error sin.querer"
    ),
    _any("apps? aplicacion dash dashboard onstar sirius siriusxm xm bluetooth carplay radio driving"),
    r"list for (?!texts|text|messages|marketing)\w+",
    "(?:phone|cell|it|car|system) (?:just |has )?quit",
)
#: A sentence that asks for another way of contact, or takes a request back.
_INSTEAD = _all_of(
    rf"^(?:{_POLITE_WORDS} )*(?:call|phone|text|email|write)(?: (?:{_POLITE_WORDS}|me|us))*$",
    r"(?:(?:just|but|only|rather|instead) (?:call|phone|text|message|email)|please call)",
    r"(?:call|phone|text|email)s?(?: me)? (?:only|instead)",
    r"(?:call|text|texting|email)s? (?:works?|(?:is|are) (?:fine|better|ok|okay|best|good|great|preferred))",
    r"^(?:(?:it|that|this) was )?(?:a|an|my|by) (?:mistake|accident)$",
    r"(?:solo|solamente|mejor|prefiero) (?:por |un |una )?(?:texts?|messages?|llamadas?|llam\w+)",
    r"^(?:mejor )?llam(?:a|e|en)(?:me|nos)\b.*",
)
#: "Stop" at the beginning of a sentence, unless the next word gives it another object.
_STOP_FIRST = re.compile(
    rf"(?:(?:{_POLITE_WORDS}|no|nope) )*stop (?!\w+ing\b|"
    + _any(
        r"""by in into at on off over for to up near before after around along from with until outside here there
        and if him her me the a an my our his their its all any everything today tonight tomorrow \w+day work service
        sign light lights lamp start go sale leak order payment production delivery en por bye? buy that these those
        this.(?!is\b)\w+"""
    )
    + r"\b).*"
)
#: "Stop" at the end of a sentence, unless it is a verb or a noun there.
_STOP_LAST = re.compile(
    rf"(?!.*\b{_any('how when where ill will can(?!.you) would does do did if make makes until before while')}\b)"
    r"(?!(?:my|the) \w+ stop\b)(?!.*\b"
    + _any(
        """i we you they he she him her them to a the my un el full sudden hard every each auto start bus truck rest
        pit non one two another next last first only more gas light and or at not never wont cant dont doesnt didnt
        wouldnt couldnt isnt should could can must may might hacer ever then station"""
    )
    + rf" stop\b).* stop(?: {_POLITE_WORDS})*"
)
#: A short sentence with one of these is about the car, or about getting here.
_CAR_TROUBLE = re.compile(
    r"\b(?:alarm|traffic|shuttle|oil|tires?|labor|alignment|engine|transmission|(?:repair|inspect|diagnos"
    r"|nois|leak|beep|chim|rattl|squeak|squeal|clunk|grind|shak|vibrat|wiper|brak)\w*)\b"
)

#: Where one of the words has another meaning, which needs no person.
_HARMLESS = _all_of(
    rf"(?:{_any('the at by until towards near before in')} )*"
    r"end of (?:the |this |next |my |our )*(?:day|week|month|year|shift|business|summer|winter|season|line|lease"
    r"|march|april|may|june|july|august|september|october|november|december|january|february|today|road|street"
    r"|driveway|term|warranty|it)",
    r"(?:front|rear|back|high|low|dead|deep|either|other|far|my|your|week|year|month|years|days|weeks|lease) end",
    r"end up",
    r"end to end",
    r"(?:bus|truck|rest|full|dead|pit) stop",
    r"stop (?:sign|light|lights|lamp)",
    r"fin de (?:la )?(?:semana|mes|ano)",
    r"al fin",
    r"por fin",
    r"(?:planta|mas|muy|esta|llanta) baja",
    r"en alto",
    r"(?:muy|mas|precio) alto",
)
#: A person should read an answer with one of these.
_HINT = _all_of(
    _any("stop quit end revoke cancel unsubscribe optout cancelling canceling cancellation discontinue"),
    _OPT_OUT,
    r"(?:wrong|incorrect) (?:number|person|phone)",
    r"(?:not|isnt) (?:my|his|her|the right) (?:number|phone)",
    r"(?:remove|delete|scratch|erase) (?:me|us|my|from)",
    r"(?:take|get) (?:me|us|my \w+) (?:off|out)",
    r"(?:do not|dont|never|no) (?:contact|text|messages?|call)",
    r"no longer (?:want|wish|need|interested)",
    r"not interested",
    r"(?:fuck|piss|f) off",
    r"go away",
    r"no interest",
    _any("spam harassment harassing harass lawyer attorney lawsuit sue scam fcc tcpa ftc"),
    r"how did you get (?:my|this)",
    r"numero equivocado",
    r"(?:no me interesa|no estoy interesad[oa]|equivocad[oa])",
    _any(
        "cancelar cancele cancelen cancela parar paren pare basta baja detener alto desuscribir demanda abogado acoso"
    ),
    r"no (?:me |nos )?(?:llame|llamen|escriban?|manden?|envien?|molesten?|texteen|vuelvan?)",
    r"(?:^para ya|dejen ya|detengase|detenganse|parenle|sacame|saquenme|saqueme|quiteme|quitame|borrame)",
)
#: An answer that asks for texts again.
_START = re.compile(
    rf"(?:{_POLITE_WORDS} )*(?:start|un ?stop|re ?join|resume|(?:re ?)?subscribe|opt ?in|opt me(?: back)? in"
    r"|add me back|sign me (?:back )?up(?: again)?|start texting me(?: again)?|(?:you can )?text me again"
    r"|iniciar|comenzar|empezar|reanudar|suscribir(?:me)?|suscribeme|alta|inicio)"
    rf"(?: {_POLITE_WORDS})*"
)
