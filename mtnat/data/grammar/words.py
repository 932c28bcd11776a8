"""The words of the embedded corpus, as tables. Within a table, frequent words come first.

Nouns:      ``english[/plural]: article singular, plural [| synonym]``; ``*`` marks weak declension, plural ``-`` a mass noun.
Adjectives: ``english: german[/stem] [| synonym]: kinds``; the stem is what endings are added to.
Verbs:      ``english[/past]: subjects [> objects]: german [| synonym]``; subjects and objects are kinds, groups or nouns.
German verbs: ``[sich] [prefix+]infinitive [3rd-person preterite participle] [(sein)] [preposition:case]``; a weak verb
needs only its infinitive; ``~`` marks a verb whose past is always the preterite, never the perfect.
"""

GROUPS = {
    "person": "man woman child",
    "goods": "thing clothes vehicle text food device",
    "object": "thing clothes vehicle text device container",
}
"""Names for groups of kinds of nouns."""

NOUNS = {
    "man": """
man/men: der Mann, Männer
father: der Vater, Väter
boy: der Junge*, Jungen
brother: der Bruder, Brüder
teacher: der Lehrer, Lehrer
friend: der Freund, Freunde
doctor: der Arzt, Ärzte
son: der Sohn, Söhne
neighbour: der Nachbar*, Nachbarn
student: der Student*, Studenten
uncle: der Onkel, Onkel
farmer: der Bauer*, Bauern | der Landwirt, Landwirte
grandfather: der Großvater, Großväter | der Opa, Opas
policeman/policemen: der Polizist*, Polizisten
guest: der Gast, Gäste
cook: der Koch, Köche
king: der König, Könige
writer: der Schriftsteller, Schriftsteller | der Autor, Autoren
customer: der Kunde*, Kunden
driver: der Fahrer, Fahrer
baker: der Bäcker, Bäcker
artist: der Künstler, Künstler
soldier: der Soldat*, Soldaten
""",
    "woman": """
woman/women: die Frau, Frauen
mother: die Mutter, Mütter
girl: das Mädchen, Mädchen
sister: die Schwester, Schwestern
daughter: die Tochter, Töchter
aunt: die Tante, Tanten
grandmother: die Großmutter, Großmütter | die Oma, Omas
queen: die Königin, Königinnen
nurse: die Krankenschwester, Krankenschwestern
waitress: die Kellnerin, Kellnerinnen
actress: die Schauspielerin, Schauspielerinnen
princess: die Prinzessin, Prinzessinnen
""",
    "child": """
child/children: das Kind, Kinder
""",
    "animal": """
dog: der Hund, Hunde
cat: die Katze, Katzen
horse: das Pferd, Pferde
bird: der Vogel, Vögel
cow: die Kuh, Kühe
rabbit: das Kaninchen, Kaninchen | der Hase*, Hasen
mouse/mice: die Maus, Mäuse
bear: der Bär*, Bären
pig: das Schwein, Schweine
wolf/wolves: der Wolf, Wölfe
duck: die Ente, Enten
fox: der Fuchs, Füchse
goat: die Ziege, Ziegen
lion: der Löwe*, Löwen
""",
    "food": """
bread: das Brot, -
apple: der Apfel, Äpfel
cake: der Kuchen, Kuchen | die Torte, Torten
egg: das Ei, Eier
cheese: der Käse, -
meat: das Fleisch, -
potato/potatoes: die Kartoffel, Kartoffeln
soup: die Suppe, Suppen
sausage: die Wurst, Würste
orange: die Orange, Orangen | die Apfelsine, Apfelsinen
rice: der Reis, -
tomato/tomatoes: die Tomate, Tomaten
pear: die Birne, Birnen
banana: die Banane, Bananen
""",
    "drink": """
water: das Wasser, -
milk: die Milch, -
coffee: der Kaffee, -
tea: der Tee, -
beer: das Bier, -
wine: der Wein, -
juice: der Saft, -
""",
    "text": """
book: das Buch, Bücher
letter: der Brief, Briefe
story: die Geschichte, Geschichten | die Erzählung, Erzählungen
newspaper: die Zeitung, Zeitungen
message: die Nachricht, Nachrichten | die Botschaft, Botschaften
report: der Bericht, Berichte
poem: das Gedicht, Gedichte
article: der Artikel, Artikel
novel: der Roman, Romane
""",
    "vehicle": """
car: das Auto, Autos | der Wagen, Wagen
bus: der Bus, Busse
train: der Zug, Züge
bicycle: das Fahrrad, Fahrräder | das Rad, Räder
ship: das Schiff, Schiffe
boat: das Boot, Boote
taxi: das Taxi, Taxis
truck: der Lastwagen, Lastwagen | der Laster, Laster
tractor: der Traktor, Traktoren
""",
    "device": """
computer: der Computer, Computer | der Rechner, Rechner
lamp: die Lampe, Lampen
radio: das Radio, Radios
television: der Fernseher, Fernseher
machine: die Maschine, Maschinen
camera: die Kamera, Kameras
""",
    "container": """
door: die Tür, Türen
window: das Fenster, Fenster
box: die Kiste, Kisten | die Schachtel, Schachteln
suitcase: der Koffer, Koffer
bottle: die Flasche, Flaschen
bag: die Tasche, Taschen
gate: das Tor, Tore
drawer: die Schublade, Schubladen
""",
    "thing": """
table: der Tisch, Tische
picture: das Bild, Bilder
flower: die Blume, Blumen
chair: der Stuhl, Stühle
key: der Schlüssel, Schlüssel
gift: das Geschenk, Geschenke
ball: der Ball, Bälle
clock: die Uhr, Uhren
bed: das Bett, Betten
cup: die Tasse, Tassen
glass: das Glas, Gläser
plate: der Teller, Teller
knife/knives: das Messer, Messer
umbrella: der Regenschirm, Regenschirme | der Schirm, Schirme
mirror: der Spiegel, Spiegel
guitar: die Gitarre, Gitarren
pen: der Stift, Stifte | der Kugelschreiber, Kugelschreiber
ring: der Ring, Ringe
basket: der Korb, Körbe
coin: die Münze, Münzen
""",
    "clothes": """
coat: der Mantel, Mäntel
hat: der Hut, Hüte
dress: das Kleid, Kleider
shirt: das Hemd, Hemden
shoe: der Schuh, Schuhe
jacket: die Jacke, Jacken
skirt: der Rock, Röcke
scarf/scarves: der Schal, Schals
glove: der Handschuh, Handschuhe
sock: die Socke, Socken
""",
    "event": """
film: der Film, Filme
concert: das Konzert, Konzerte
game: das Spiel, Spiele
party: das Fest, Feste | die Feier, Feiern
meeting: die Besprechung, Besprechungen | die Sitzung, Sitzungen
course: der Kurs, Kurse
""",
    "room": """
house: das Haus, Häuser
kitchen: die Küche, Küchen
room: das Zimmer, Zimmer | der Raum, Räume
office: das Büro, Büros
bathroom: das Badezimmer, Badezimmer | das Bad, Bäder
""",
    "place": """
garden: der Garten, Gärten
city: die Stadt, Städte
school: die Schule, Schulen
park: der Park, Parks
village: das Dorf, Dörfer
station: der Bahnhof, Bahnhöfe
forest: der Wald, Wälder
street: die Straße, Straßen
market: der Markt, Märkte
museum: das Museum, Museen
church: die Kirche, Kirchen
restaurant: das Restaurant, Restaurants
library: die Bibliothek, Bibliotheken | die Bücherei, Büchereien
hotel: das Hotel, Hotels
beach: der Strand, Strände
river: der Fluss, Flüsse
lake: der See, Seen
shop: der Laden, Läden | das Geschäft, Geschäfte
hospital: das Krankenhaus, Krankenhäuser | die Klinik, Kliniken
theatre: das Theater, Theater
airport: der Flughafen, Flughäfen
bridge: die Brücke, Brücken
farm: der Bauernhof, Bauernhöfe
island: die Insel, Inseln
mountain: der Berg, Berge
""",
}
"""Semantic kind → its nouns."""

PLACES = """
garden: in: in: in:acc
house: in: in: in:acc
city: in: in: in:acc
kitchen: in: in: in:acc
school: in: in: in:acc | zu:dat
park: in: in: in:acc
office: in: in: in:acc
room: in: in: in:acc
village: in: in: in:acc
station: at: an: zu:dat
forest: in: in: in:acc
market: at: auf: auf:acc | zu:dat
street: in: auf: auf:acc
museum: in: in: in:acc
church: in: in: in:acc | zu:dat
restaurant: in: in: in:acc
library: in: in: in:acc
hotel: in: in: in:acc | zu:dat
beach: on: an: an:acc | zu:dat
river: at: an: an:acc | zu:dat
lake: at: an: an:acc | zu:dat
shop: in: in: in:acc
hospital: in: in: in:acc
theatre: in: in: in:acc
airport: at: an: zu:dat
bridge: on: auf: auf:acc | zu:dat
farm: on: auf: auf:acc | zu:dat
island: on: auf: auf:acc
mountain: on: auf: auf:acc
"""
"""``noun: English preposition of a location: German preposition of a location: German prepositions of a goal``.

The German preposition of a location takes the dative. The English preposition of a goal is always "to".
"""

ADJECTIVES = """
old: alt: person animal vehicle device container thing clothes room place text
big: groß: animal vehicle container thing clothes room place
new: neu: vehicle device container thing clothes text event
small: klein: person animal vehicle device container thing room place food
beautiful: schön | hübsch: woman animal thing clothes room place
young: jung: man woman animal
good: gut: text food drink event vehicle
red: rot: vehicle container thing clothes
happy: glücklich | froh: person
long: lang: text event
black: schwarz: animal vehicle container thing clothes device
white: weiß: animal vehicle container thing clothes
tired: müde/müd: person animal
interesting: interessant: text event place
friendly: freundlich | nett: person
expensive: teuer/teur: vehicle device thing clothes food drink
cold: kalt: drink food room
blue: blau: vehicle container thing clothes
fresh: frisch: food
famous: berühmt | bekannt: man woman place text
short: kurz: text event
hot: heiß: drink food
rich: reich: man woman
cheap: billig | günstig: vehicle device thing clothes food drink
heavy: schwer: container thing
important: wichtig: text event
green: grün: vehicle container thing clothes
sad: traurig: person text event
hungry: hungrig: person animal
modern: modern: device room vehicle
clever: klug | schlau: person animal
clean: sauber: clothes room container
dirty: schmutzig | dreckig: clothes room vehicle animal
sweet: süß: food
boring: langweilig: text event
exciting: spannend: text event
sick: krank: person animal
broken: kaputt: vehicle device
strong: stark: man animal
empty: leer: container room place
funny: lustig | witzig: person text event
quiet: ruhig: room place
brave: mutig | tapfer: person
poor: arm: man woman
brown: braun: animal container clothes
delicious: lecker | köstlich: food
lazy: faul: person animal
warm: warm: clothes drink room
yellow: gelb: vehicle thing clothes
polite: höflich: person
grey: grau: animal clothes vehicle
dangerous: gefährlich: animal machine place
"""

VERBS = {
    "intransitive": """
work: person: arbeiten
sleep/slept: person animal: schlafen schläft schlief geschlafen
wait: person animal: warten
play: person animal: spielen
laugh: person: lachen
whistle: person bird: pfeifen pfeift pfiff gepfiffen
run/ran: person animal: laufen läuft lief gelaufen (sein) | rennen rennt rannte gerannt (sein)
dance: person: tanzen
get up/got: person: auf+stehen steht stand gestanden (sein)
cook: person: kochen
arrive: person vehicle: an+kommen kommt kam gekommen (sein)
begin/began: event: beginnen beginnt begann begonnen | an+fangen fängt fing gefangen
end: event: enden
cry: person: weinen
swim/swam: person animal: schwimmen schwimmt schwamm geschwommen (sein)
fall asleep/fell: person animal: ein+schlafen schläft schlief geschlafen (sein)
come back/came: person animal: zurück+kommen kommt kam gekommen (sein) | zurück+kehren (sein)
depart: bus train ship: ab+fahren fährt fuhr gefahren (sein)
rest: person animal: sich aus+ruhen
wake up/woke: person animal: auf+wachen (sein)
go shopping/went: person: ein+kaufen
sit down/sat: person: sich setzen | sich hin+setzen
smile: person: lächeln
hurry: person: sich beeilen
watch TV: person: fern+sehen sieht sah gesehen
run away/ran: person animal: weg+laufen läuft lief gelaufen (sein)
""",
    "accusative": """
buy/bought: person > goods house: kaufen
read/read: person > text: lesen liest las gelesen
eat/ate: person > food: essen isst aß gegessen
eat/ate: animal > bread apple meat cheese potato: fressen frisst fraß gefressen
open: person > container: öffnen | auf+machen
write/wrote: person > text: schreiben schreibt schrieb geschrieben
drink/drank: person > drink: trinken trinkt trank getrunken
drink/drank: animal > water milk: trinken trinkt trank getrunken
find/found: person animal > object food: finden findet fand gefunden
look for: person animal > object person: suchen
close: person > container: schließen schließt schloss geschlossen | zu+machen
visit: person > person museum city island: besuchen
meet/met: person > person: treffen trifft traf getroffen
sell/sold: person > goods house: verkaufen
invite: person > person: ein+laden lädt lud geladen
call: person > person doctor: an+rufen ruft rief gerufen
clean: person > room container vehicle: putzen | reinigen
wear/wore: person > clothes: tragen trägt trug getragen
carry: person > container thing: tragen trägt trug getragen
repair: person > vehicle device clock: reparieren
put on/put: person > coat dress shirt shoe jacket skirt glove sock: an+ziehen zieht zog gezogen
pick up: person > child woman man: ab+holen
turn on: person > device: ein+schalten | an+machen
turn off: person > device: aus+schalten | aus+machen
tidy up: person > room: auf+räumen
order: person > food drink taxi: bestellen
throw away/threw: person > thing clothes text: weg+werfen wirft warf geworfen
wash: person > clothes vehicle plate: waschen wäscht wusch gewaschen
lose/lost: person > thing clothes: verlieren verliert verlor verloren
watch: person animal > animal person: beobachten
paint: person > flower picture animal: malen
draw/drew: person > flower animal house: zeichnen
build/built: person > house ship bridge table: bauen
take off/took: person > coat dress shirt shoe jacket skirt glove sock: aus+ziehen zieht zog gezogen
feed/fed: person > animal: füttern
steal/stole: person > vehicle thing bag: stehlen stiehlt stahl gestohlen
catch/caught: person animal > ball bird mouse rabbit: fangen fängt fing gefangen
hide/hid: person > thing container letter: verstecken
bake: person > cake bread: backen backt backte gebacken
use: person > device knife pen bicycle: benutzen | verwenden
break/broke: person > cup glass plate mirror: zerbrechen zerbricht zerbrach zerbrochen
""",
    "stative": """
see/saw: person animal > object animal person place: sehen sieht sah gesehen
like: person > person animal food drink clothes place text event: ~mögen mag mochte gemocht
need: person > object: brauchen | benötigen
love: person > person animal city book event: lieben
hear/heard: person > person animal radio concert: hören
understand/understood: person > text person: verstehen versteht verstand verstanden
forget/forgot: person > thing text bag: vergessen vergisst vergaß vergessen
""",
    "dative": """
help: person > person: helfen hilft half geholfen
follow: person animal > person animal vehicle: folgen (sein)
thank: person > person: danken
answer: person > person: antworten
trust: person > person: vertrauen
congratulate: person > person: gratulieren
""",
    "ditransitive": """
give/gave: person > thing text food: geben gibt gab gegeben
show: person > picture text vehicle house garden clothes: zeigen
bring/brought: person > food drink thing text: bringen bringt brachte gebracht | mit+bringen bringt brachte gebracht
send/sent: person > text gift picture flower: schicken
tell/told: person > story: erzählen
read/read: person > story book poem letter: vor+lesen liest las gelesen
offer: person > food drink chair: an+bieten bietet bot geboten
lend/lent: person > bicycle car book umbrella coat: leihen leiht lieh geliehen
""",
    "prepositional": """
wait for: person animal > person bus train taxi letter: warten auf:acc
talk about: person > text event person: sprechen spricht sprach gesprochen über:acc | reden über:acc
think of/thought: person > person gift house event: denken denkt dachte gedacht an:acc
look after: person > child animal house suitcase: auf+passen auf:acc
dream of/dreamt: person > house car island animal beach: träumen von:dat
laugh about: person > film story picture book: lachen über:acc
look forward to: person > event gift letter: sich freuen auf:acc
ask for: person > water bread book pen glass: bitten bittet bat gebeten um:acc
take part in/took: person > game course meeting party: teil+nehmen nimmt nahm genommen an:dat
""",
    "motion": """
go/went: person: gehen geht ging gegangen (sein)
drive/drove: person: fahren fährt fuhr gefahren (sein)
come/came: person animal: kommen kommt kam gekommen (sein)
run/ran: person animal: laufen läuft lief gelaufen (sein) | rennen rennt rannte gerannt (sein)
travel/travelled: person: reisen (sein)
return: person: zurück+kehren (sein) | zurück+kommen kommt kam gekommen (sein)
""",
    "content": """
know/knew: person: ~wissen weiß wusste gewusst
say/said: person: sagen
think/thought: person: denken denkt dachte gedacht | glauben
believe: person: glauben
hope: person: hoffen
notice: person: bemerken | merken
""",
    "infinitive": """
try: person: versuchen
begin/began: person: beginnen beginnt begann begonnen | an+fangen fängt fing gefangen
decide: person: beschließen beschließt beschloss beschlossen
promise: person: versprechen verspricht versprach versprochen
""",
}
"""Frame → its verbs. A frame states which arguments a verb takes and the German case of its object."""

TIMES = """
ADVP: yesterday: gestern: past
ADVP: today: heute: both
NP: every day: jeden Tag | täglich: both
PP: in the evening: am Abend | abends: both
PP: in the morning: am Morgen | morgens: both
ADVP: now: jetzt | nun: present
NP: last week: letzte Woche | vorige Woche: past
PP: on Monday: am Montag: both
PP: at night: in der Nacht | nachts: both
PP: on Sunday: am Sonntag: both
NP: last year: letztes Jahr: past
PP: in summer: im Sommer: both
NP: this morning: heute Morgen: both
PP: at the weekend: am Wochenende: both
PP: in winter: im Winter: both
NP: every week: jede Woche: both
PP: in the afternoon: am Nachmittag | nachmittags: both
PP: after school: nach der Schule: both
PP: before the meeting: vor der Besprechung | vor der Sitzung: both
"""
"""``constituent: english: german [| synonym]: tense``"""

FREQUENCIES = """
ADVP: often: oft | häufig: both
ADVP: always: immer: both
ADVP: sometimes: manchmal: both
ADVP: never: nie | niemals: both
ADVP: usually: meistens | gewöhnlich: both
ADVP: rarely: selten: both
"""

MANNERS = """
ADVP: quickly: schnell | rasch: both
ADVP: slowly: langsam: both
ADVP: carefully: vorsichtig: both
ADVP: quietly: leise: both
ADVP: alone: allein: both
ADVP: secretly: heimlich: both
ADVP: happily: fröhlich: both
"""

SPOTS = """
PP: at home: zu Hause | daheim: both
ADVP: here: hier: both
ADVP: outside: draußen: both
ADVP: there: dort | da: both
PP: in Berlin: in Berlin: both
PP: in Vienna: in Wien: both
PP: in Munich: in München: both
PP: in Rome: in Rom: both
"""
"""Locations without a noun phrase."""

GOALS = """
ADVP: home: nach Hause: both
PP: to Berlin: nach Berlin: both
PP: to Vienna: nach Wien: both
PP: to Munich: nach München: both
PP: to Rome: nach Rom: both
"""
"""Goals without a noun phrase."""

NAMES = {"woman": "Anna Maria Lisa Julia Laura Eva", "man": "Peter Paul Martin Karl Stefan Tom"}

DEGREES = {"very": ("sehr",), "too": ("zu",), "quite": ("ziemlich",)}

CONJUNCTIONS = {
    "because": ("weil", "da"),
    "although": ("obwohl",),
    "while": ("während",),
    "before": ("bevor", "ehe"),
    "if": ("wenn", "falls"),
}
"""Subordinating conjunctions with a fixed translation; that of "when" depends on the tense."""

PEOPLE = ("man", "woman", "child")
"""The kinds of nouns for people."""
