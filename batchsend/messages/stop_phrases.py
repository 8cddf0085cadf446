"""The words and phrases by which customers ask for no more texts, or seem to, in English and Spanish.

Each is compared with one sentence of an answer at a time, in the spelling that `stop_words.py` gives it: small
letters, no accents, no apostrophes, one blank between words. Compiling them takes 50 ms: import them where an answer
is judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

#: Where a sentence of an answer ends.
BREAK = re.compile(
    r"[.!?;:,\n\r()\u2026\u2014\u2013\u00a1\u00bf|]|\s/|/\s|\s-+\s|[\U0001F000-\U0001FAFF\u2600-\u27BF]"
)
#: `Liked "..."`: a phone reports a reaction as a text that quotes ours, with its opt-out line.
REACTION = re.compile(
    r"^\W*(?:(?:liked|loved|disliked|emphasized|questioned|laughed at|reacted .{1,12} to|removed an? .{1,20} from"
    r"|le (?:gusto|encanto)|me (?:gusto|encanto)|exclamo|se rio de|pregunto)\s|[^\w\s]{1,8}\s?to\s)"
    r"\s*[\"“”„«](?:.*[\"”»]|.*)",
    re.DOTALL,
)
#: Our opt-out line. An answer can quote it; nothing but the line is a request.
QUOTED_FOOTER = re.compile(
    r"(?:(?:text|txt|reply|send|responda|envie|escriba)\s+(?:with\s+)?)?\W?stop\W?\s+(?:to|para)\s+"
    r"(?:opt ?out|unsubscribe|end|stop|cancel|quit|no recibir|cancelar|salir)"
)


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
    r"""stop stopall stops quit end revoke cancel cancelled unsubscribe optout remove no.?more
    no.(?:more.)?(?:texts?|texting|messages?|messaging|solicit\w+)
    alto pare paren parar basta detener detenga detengan detente cancelar cancele cancelen cancela cancelado anular
    terminar termine terminen revocar revoco salir fin baja desuscribir desuscribirme desuscribirse desuscribe
    discontinue detengase detenganse parenle parele parale
    suspender finalizar eliminar no.?mas opt.?out opting.out opted.out
    (?:stop|end|cancel|quit|cancelar|parar).(?:all|todo|todos) (?:text|reply|send|type).stop"""
)
#: An answer of one of these words and nothing else but courtesies.
ALONE = re.compile(rf"(?:{_POLITE_WORDS} )*{_WORD}(?: (?:{_WORD}|{_POLITE_WORDS}))*")
#: What an answer of one word may say as well: courtesies, and why.
ASIDE = re.compile(
    rf"(?:(?:{_POLITE_WORDS}|no) )*(?:{_POLITE_WORDS}|(?:(?:its|this is|you have) )?(?:the |a )?wrong"
    r" (?:number|person)|(?:im )?not interested|no interest|no (?:calls?|emails?)|(?:numero )?equivocado"
    rf"|no me interesa|no estoy interesad[oa])(?: {_POLITE_WORDS})*"
)

#: "I already told you to": with times, and by others.
_TOLD = (
    r"(?:i|ive|we|weve|he|she|they|(?:my|her|his) \w+)(?: (?:already|just|clearly|have|has|had|repeatedly))*"
    r" (?:told|asked)(?: (?:me|us))?(?: to (?:ask|tell))?"
    r"(?: (?:you|already|once|twice|before|guys|people|(?:\w+ )?times))* to"
)
_STOP = _any("stop desist quit unsubscribe end alto pare paren basta optout")
_ASK = _any(
    [
        "(?:can|could|would|will|wont|cant|wouldnt) you",
        "you(?: guys| all| people)? (?:need|have|got|must|should)(?: to)?",
        "i (?:said|want you to|need you to|would like you to)",
        _TOLD,
        "id like you to",
        "when will you",
        "why (?:wont|dont|cant) you",
        "make (?:it|this|these|them)",
        "(?:want|need|like|wish)(?: for)? (?:it|this|these|them|that) to",
    ]
)
#: A sentence that is a request, also among others.
CLEAR = re.compile(
    rf"(?:no |nope )?(?:{_POLITE_WORDS} )*(?:{_ASK} )?(?:{_POLITE_WORDS} )*"
    rf"(?:stop|quit|cease|unsubscribe|optout|{_OPT_OUT}"
    r"|(?:stop|quit|end)(?: with)? (?:it|this|that|these|those|them|esto)"
    r"|(?:stop|quit)(?: with)? (?:this|that|the|all this) (?:nonsense|crap|bs|bull|bullshit|shit|garbage|junk))"
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
    "texts text messages mensajitos suscripcion notificaciones alertas avisos envios llamadas informacion publicidad"
    " promociones ofertas propaganda"
)
_SPANISH_ANY_OF = _any(
    "mas mi mis la las los el este estos ese esos esta estas esa esas sus su todos todas tantos de"
)
_LIST = _any(
    """list lists database system distribution texting text messages message mailing contact contacts calling
    marketing phone subscription records communications campaign"""
)
_SENDING = _any(
    "texting messaging contacting calling emailing sending bothering spamming harassing soliciting"
)
_END = rf"(?: (?:{_POLITE_WORDS}|any ?more|ever|me|us|at all|either|nunca|jamas|mas))*$"
_NUMBER = "(?:phone number|cell number|number|phone|cell|name|(?:contact )?(?:info|information))"
_ME = _any(["me", "us", rf"my {_NUMBER}", "this (?:phone number|number|phone|cell)"])
#: Also in the words of a person who answers for the customer.
_ANYONE = _any(
    [
        _ME,
        "him",
        "her",
        "them",
        rf"(?:his|her|their|our|that) {_NUMBER}",
        r"my (?:mom|mother|dad|father|wife|husband|son|daughter|parents|brother|sister)",
    ]
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

#: Words that ask for no more texts, anywhere in an answer.
REQUEST = _all_of(
    rf"(?:stop|quit|cease|end|cancel|halt|discontinue) (?:{_ANY_OF} )*"
    r"(?:texts|texting|messages|messaging|contacting|calling|emailing|sending|bothering|spamming|harassing|alerts"
    r"|notifications|reminders|ads|promotions|promos|promotional|soliciting|solicitations|communications?"
    r"|subscription|subscriptions|blasts|bugging|pestering|marketing|advertising|advertisements)",
    rf"stop (?:with )?(?:{_ANY_OF} )*{_TEXTS}",
    r"unsubscribe(?! (?:from|to) )",
    rf"unsubscribe (?:from|to) (?:{_ANY_OF} )*(?:{_LIST}|{_TEXTS})",
    rf"(?:opt {_ME} out|{_OPT_OUT}|optout)(?! (?:of|from) )",
    rf"(?:opt {_ME} out|{_OPT_OUT}|optout) (?:of|from) (?:{_ANY_OF} )*(?:{_LIST}|{_TEXTS})",
    rf"(?:{_OPT_OUT}|optout|unsubscribe) (?:of|from) (?:all (?:of )?)?"
    rf"(?:this|these|those|it|them|everything|all){_END}",
    r"(?:revoke|revoking|withdraw|withdrawing) (?:(?:my|all|any|the) )*(?:consent|permission|authorization|opt ?in)",
    rf"{_REMOVE} {_ME}(?: or (?:i|ill|we) .*)?{_END}",
    r"asked (?:you )?to be (?:removed|taken off)",
    rf"(?:stop|quit|cease|refrain from) (?:{_ANY_OF} )*(?:reaching out|{_SENDING})",
    rf"{_DONT} (?:ever )?reach out(?: to {_ME})?",
    rf"take (?:this|my|that|his|her|our) {_NUMBER} off{_END}",
    rf"(?:my|this|our|his|her) {_NUMBER} (?:to be |be )?(?:removed|deleted|taken off)",
    r"(?:i|we|to|us) (?:(?:please|just) )?(?:be|get) (?:removed|taken off|deleted|unsubscribed)"
    rf"(?: (?:from|of|off))*(?: (?:{_ANY_OF} )*{_LIST}| this| these)?{_END}",
    rf"(?:off|off of|out of) (?:this|your|these) (?:{_ANY_OF} )*"
    r"(?:(?:text|texting|mailing|marketing|contact) )?lists?",
    rf"(?:want|like) (?:off|out){_END}",
    rf"^(?:{_POLITE_WORDS} )*take me off{_END}",
    rf"(?:{_REMOVE}|take) {_ANYONE} (?:(?:off|out|from|of) )+(?:{_ANY_OF} )*{_LIST}",
    rf"(?:{_REMOVE}|take) (?:off|from) (?:{_ANY_OF} )*(?:(?:text|texting|mailing|marketing) )?lists?",
    rf"(?:drop|get) {_ME} (?:off|out)(?: (?:of|from))? (?:{_ANY_OF} )*{_LIST}",
    r"(?:do not|dont|no longer) have (?:(?:my|any) )*(?:permission|consent) to (?:text|contact|message)",
    r"(?:do not|dont|no longer) (?:want|wish|need|care)(?: to)?(?: (?:get|receive|see|be getting))?"
    rf" (?:these|them){_END}",
    rf"(?:do not|dont|no longer) want (?:this|any)(?: of (?:these|this|them))?{_END}",
    rf"(?:do not|dont|no longer) (?:want|need) (?:these|those|your) {_TEXTS}",
    r"(?:do not|did not|dont|didnt|never) (?:consent|agreed?|consented) to"
    rf"(?: (?:get|receive|getting|receiving|{_ANY_OF}))* (?:{_TEXTS}|this|these|it){_END}",
    r"(?:do not|did not|dont|didnt|never) (?:give|gave|given) (?:(?:you|my|any) )*(?:consent|permission)",
    rf"{_DONT} (?:ever |keep )?(?:send|sending) (?:me |us )?(?:any more of |more of |any of )?"
    rf"(?:these|this|those|them|more){_END}",
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
    rf"no more (?:of )?(?:these|this|them|those){_END}",
    rf"(?:not|rather not|not to) (?:receive|get|be sent) (?:{_ANY_OF} )*(?:texts|messages|reminders|notifications)",
    r"how (?:many times|often) .*\b(?:stop|unsubscribe)",
    rf"(?:so|please) stop (?:it|this){_END}",
    rf"(?:want|need|like) (?:{_ANY_OF} )*{_TEXTS} to (?:stop|end|cease|quit)",
    r"leave (?:me|us) alone",
    r"lose (?:my|this) (?:number|phone)",
    rf"(?:want|need|like) (?:to be )?(?:off|removed from|taken off|out of) (?:{_ANY_OF} )*{_LIST}",
    # Spanish
    rf"(?:deja|deje|dejen|dejar|pare|paren|para|parar|basta|favor|terminen|cesen) de (?:{_SPANISH_SEND})",
    rf"basta (?:de|con) (?:{_SPANISH_ANY_OF} )*{_SPANISH_TEXTS}",
    rf"no (?:me|nos|le|les) (?:{_SPANISH_SEND}) (?:{_SPANISH_ANY_OF} )*(?:{_SPANISH_TEXTS}|nada)",
    rf"(?:alto a|(?:paren|pare|para|deten|deje|dejen)(?:le|se)? con) (?:{_SPANISH_ANY_OF} )*{_SPANISH_TEXTS}",
    rf"(?:no (?:me|nos)|ya no|nunca (?:mas )?(?:me|nos)) {_SPANISH_DONT_SEND}{_END}",
    rf"no (?:me |nos )?vuelv(?:a|an|as) a {_SPANISH_SEND}",
    rf"ya no (?:(?:me|nos) )?{_SPANISH_DONT_SEND}(?: nada)?{_END}",
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
    r"(?:me|nos) (?:\w+ )?(?:quit|borr|elimin|sac)(?:a|e|en|ar|an) (?:de|del)"
    rf" (?:{_SPANISH_ANY_OF} )*(?:lista|listas|sistema)",
    r"no (?:quiero|deseo|quisiera|necesito) (?:(?:mas|recibir|seguir|recibiendo) )+(?:de )?"
    rf"(?:esto|estos|eso|nada){_END}",
    r"(?:quit|sac|borr|elimin|remuev)(?:a|e|en|an|ar) (?:mi|este) (?:numero|telefono|celular|nombre)",
    r"(?:deje|dejen|deja)(?:me|nos)? (?:en paz|tranquil[oa])",
    r"revoc(?:o|ar) (?:mi|el) (?:consentimiento|permiso|autorizacion)",
    r"(?:olviden?|pierdan?) (?:de )?(?:mi|este) numero",
)
#: "Please do not unsubscribe me." "You didn't stop texting me" is a request.
NEGATED = re.compile(
    r"(?<!\byou )\b(?:dont|do not|not|never|didnt|did not|wont|cant|no)(?: (?:want|mean|meant|say|said|ask|asked"
    r"|try|trying|to|ever|please|need|have|going|wish|me|quiero|deseo|pedi)){0,4} $"
    r"|\btell (?:him|her|them) to $"
)
#: In a sentence with one of these, "stop" or a request can mean something other than our texts.
ELSEWHERE = _all_of(
    _any(
        "accident accidentally mistake mistakenly undo unintentionally accidente equivocacion por.error sin.querer"
    ),
    _any("apps? aplicacion dash dashboard onstar sirius siriusxm xm bluetooth carplay radio driving"),
    r"list for (?!texts|text|messages|marketing)\w+",
    "(?:phone|cell|it|car|system) (?:just |has )?quit",
)
#: A sentence that asks for another way of contact, or takes a request back.
INSTEAD = _all_of(
    rf"^(?:{_POLITE_WORDS} )*(?:call|phone|text|email|write)(?: (?:{_POLITE_WORDS}|me|us))*$",
    r"(?:(?:just|but|only|rather|instead) (?:call|phone|text|message|email)|please call)",
    r"(?:call|phone|text|email)s?(?: me)? (?:only|instead)",
    r"(?:call|text|texting|email)s? (?:works?|(?:is|are) (?:fine|better|ok|okay|best|good|great|preferred))",
    r"^(?:(?:it|that|this) was )?(?:a|an|my|by) (?:mistake|accident)$",
    r"(?:solo|solamente|mejor|prefiero) (?:por |un |una )?(?:texts?|messages?|llamadas?|llam\w+)",
    r"^(?:mejor )?llam(?:a|e|en)(?:me|nos)\b.*",
)
#: "Stop" at the beginning of a sentence, unless the next word gives it another object.
STOP_FIRST = re.compile(
    rf"(?:(?:{_POLITE_WORDS}|no|nope) )*stop (?!\w+ing\b|"
    + _any(
        r"""by in into at on off over for to up near before after around along from with until outside here there
        and if him her me the a an my our his their its all any everything today tonight tomorrow \w+day work service
        sign light lights lamp start go sale leak order payment production delivery en por bye? buy that these those
        date this.(?!is\b)\w+"""
    )
    + r"\b).*"
)
#: "Stop" at the end of a sentence, unless it is a verb or a noun there.
STOP_LAST = re.compile(
    rf"(?!.*\b{_any('how when where ill will can(?!.you) would does do did if make makes until before while')}\b)"
    r"(?!(?:my|the) \w+ stop\b)(?!.*\b(?:a|one) (?:quick|short|brief|little|small|long) stop\b)(?!.*\b"
    + _any(
        """i we you they he she him her them to a the my un el full sudden hard every each auto start bus truck rest
        pit non one two another next last first only more gas light and or at not never wont cant dont doesnt didnt
        wouldnt couldnt isnt should could can must may might hacer ever then station"""
    )
    + rf" stop\b).* stop(?: {_POLITE_WORDS})*"
)
#: A short sentence with one of these is about the car, or about getting here.
CAR_TROUBLE = re.compile(
    r"\b(?:alarm|traffic|shuttle|oil|tires?|labor|alignment|engine|transmission|(?:repair|inspect|diagnos"
    r"|nois|leak|beep|chim|rattl|squeak|squeal|clunk|grind|shak|vibrat|wiper|brak)\w*)\b"
)

#: Where one of the words has another meaning, which needs no person.
HARMLESS = _all_of(
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
HINT = _all_of(
    _any("stop quit end revoke cancel unsubscribe optout cancelling canceling cancellation discontinue"),
    _OPT_OUT,
    r"(?:wrong|incorrect) (?:number|person|phone)",
    r"(?:not|isnt) (?:my|his|her|the right) (?:number|phone)",
    r"(?:remove|delete|scratch|erase) (?:me|us|my|from|him|her|this)",
    r"(?:take|get|taken|taking) (?:(?:me|us|him|her|(?:my|his|her|this) \w+) )?(?:off|out)",
    r"(?:removed|deleted|(?:remove|delete) it)",
    r"off (?:of )?(?:this|your|the) (?:\w+ )?list",
    r"(?:do not|dont|never|didnt|did not|not|no) (?:ever )?(?:send|sending|consent|signe?d?|agreed?|give|gave)",
    r"(?:do not|dont|no longer|never|not|no|without|against) "
    rf"(?:(?!get|got|have|had|see|saw|mandan|llega|llego|recib)\w+ ){{0,4}}(?:{_TEXTS}|offers)",
    r"^(?:out|off|remove)$",
    rf"(?:cease|desist|salir de|(?:no|not any) more offers){_END}",
    r"(?:salir|fuera) de (?:la|su|esta) lista",
    r"make (?:it|these|this|them) stop",
    r"(?:do not|dont|no longer) (?:need|want|like) (?:these|this|them|those|your|any)",
    _any(
        "consent permission privacy advertising marketing solicit soliciting solicitation unwanted annoying"
    ),
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
    r"ya no (?:quiero|deseo|necesito)",
    r"(?:quit|borr|elimin|sac|remuev)(?:a|e|en|an|ar)(?:me|nos)? (?:de|del|mi|este)",
    r"no (?:me |nos )?(?:llame|llamen|escriban?|manden?|envien?|molesten?|texteen|vuelvan?)",
    r"(?:^para$|^para ya|dejen ya|detengase|detenganse|parenle|sacame|saquenme|saqueme|quiteme|quitame|borrame)",
)
#: An answer that asks for texts again.
START = re.compile(
    rf"(?:{_POLITE_WORDS} )*(?:start|un ?stop|re ?join|resume|(?:re ?)?subscribe|opt ?in|opt me(?: back)? in"
    r"|add me back|sign me (?:back )?up(?: again)?|start texting me(?: again)?|(?:you can )?text me again"
    r"|iniciar|comenzar|empezar|reanudar|suscribir(?:me)?|suscribeme|alta|inicio)"
    rf"(?: {_POLITE_WORDS})*"
)

#: Words in a short sentence.
_BRIEF = 9


def asks_to_stop(sentences: Sequence[str]) -> bool:
    """Whether an answer of these sentences asks for no more texts."""
    others = [sentence for sentence in sentences if not ASIDE.fullmatch(sentence)]
    if others and all(ALONE.fullmatch(sentence) for sentence in others):
        return True
    ours = [sentence for sentence in sentences if not ELSEWHERE.search(sentence)]
    if any(CLEAR.fullmatch(sentence) or _is_brief_stop(sentence) for sentence in ours):
        return True
    return not any(INSTEAD.search(sentence) for sentence in sentences) and any(map(_has_request, ours))


def _is_brief_stop(sentence: str) -> bool:
    """Whether this is a short sentence that begins or ends with "stop"."""
    if len(sentence.split()) > _BRIEF or CAR_TROUBLE.search(sentence):
        return False
    return bool(STOP_FIRST.fullmatch(sentence) or STOP_LAST.fullmatch(sentence))


def _has_request(sentence: str) -> bool:
    return any(not NEGATED.search(sentence[: found.start()]) for found in REQUEST.finditer(sentence))
