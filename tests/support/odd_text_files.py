"""Unusual text files."""

from __future__ import annotations

from list_cases import EMPTY, ONLY_HEADER, Read, Refused
from same_table import RESULTS_HEADER

from batchsend.lists.customer_list import ListOptions

DOUBTFUL = (
    "Line {} has letters that could be in several encodings. Choose one under [list_options]: "
    'encoding = "mac-roman" for a list from an old Mac program, "cp850" from a DOS program, "windows-1252" from '
    'Windows. Or save it again as "CSV UTF-8".'
)
TEXT_FILES = [
    # Excel on a Mac writes "CSV (Macintosh)" with the line ends of old Macs.
    Read("mac.csv", b"Name,Phone\rAnn,1\rBo,2\r", {2: ["Ann", "1"], 3: ["Bo", "2"]}),
    # Excel in Germany separates by semicolons and writes decimal commas.
    Read(
        "german.csv",
        "Name;Betrag\nJürgen;1,5\nBo;2,5\n".encode("cp1252"),
        {2: ["Jürgen", "1,5"], 3: ["Bo", "2,5"]},
        notes=("read as Windows-1252", "separated by semicolons"),
    ),
    # Excel's "Unicode Text": UTF-16 with tabs, often under the name .csv.
    Read("unicode.csv", "Name\tPhone\r\nЗоя\t1\r\n".encode("utf-16"), {2: ["Зоя", "1"]}),
    # A mainframe's export, separated by pipes.
    Read("mainframe.txt", b"NAME|PHONE\nANN|1\nBO|2\n", {2: ["ANN", "1"], 3: ["BO", "2"]}),
    # Tab-separated text that a program exports as a "workbook".
    Read("export.xls", b"Name\tPhone\r\nAnn\t1\r\n", {2: ["Ann", "1"]}, notes=("separated by tabs",)),
    # The same in UTF-16, as ASP pages often write it.
    Read("export.xls", "Name\tPhone\r\nAnn\t1\r\n".encode("utf-16"), {2: ["Ann", "1"]}),
    # A CSV file renamed so that Excel opens it.
    Read("renamed.xlsx", b"Name,Phone\nAnn,1\n", {2: ["Ann", "1"]}),
    # No ending, as some SFTP jobs name files.
    Read("EXPORT_20261122", b"Name,Phone\nAnn,1\n", {2: ["Ann", "1"]}),
    # A list of only ids has no delimiter.
    Read("ids.csv", b"Customer ID\nc1\nc2\n", {2: ["c1"], 3: ["c2"]}),
    # Excel's line that names the delimiter.
    Read("sep.csv", b"sep=;\nName;Phone\nAnn;1\n", {2: ["Ann", "1"]}),
    # An address with two lines in one cell is one row, as in the spreadsheet.
    Read("address.csv", b'A,B\n"1 Main St\nApt 2",x\nc,d\n', {2: ["1 Main St\nApt 2", "x"], 3: ["c", "d"]}),
    # Quotation marks inside a cell are doubled.
    Read("nick.csv", b'Name,X\n"Bob ""The Hammer"" Lee",1\n', {2: ['Bob "The Hammer" Lee', "1"]}),
    # Inches: a quotation mark inside an unquoted cell is an ordinary character.
    Read("inches.csv", b'Size,X\n19" rims,1\n', {2: ['19" rims', "1"]}),
    # Blank lines above, between and below; row numbers are the spreadsheet's.
    Read("gaps.csv", b"\nName\n\nAnn\n\n\n", {4: ["Ann"]}, notes=("the header is in row 2",)),
    # Excel saves a blank row as a line of commas.
    Read("commas.csv", b"A,B\n,\n1,2\n,\n", {3: ["1", "2"]}),
    # A comma at the end of each line.
    Read("tail.csv", b"A,B,\n1,2,\n", {2: ["1", "2"]}, headers=("A", "B")),
    # Values that other programs read as missing.
    Read("null.csv", b"A,B\nNull,NA\nNone,nan\n", {2: ["Null", "NA"], 3: ["None", "nan"]}),
    # Phones and ids that Excel damaged are read as they are; a campaign that uses them reports the damage.
    Read("digits.csv", b"A,B\n5.55123E+09,1.2E-5\n", {2: ["5.55123E+09", "1.2E-5"]}),
    # An apostrophe keeps Excel from changing a number; some exports write it out.
    Read("apostrophe.csv", b"A,B\n'007,x\n", {2: ["'007", "x"]}),
    # Text that begins like a formula is text.
    Read("formulas.csv", b"A,B\n=1+1,@x\n+1,-1\n", {2: ["=1+1", "@x"], 3: ["+1", "-1"]}),
    # NBSP and zero-width characters around text copied from web pages; an NBSP inside is a space.
    Read(
        "web.csv",
        "\ufeff\u200bName\u00a0,B\n\u00a0Ann\u00a0Lee\u200b,\u202a555\u202c\n".encode(),
        {2: ["Ann Lee", "555"]},
    ),
    # An unquoted comma in a name shifts the cells: the row is kept and marked as malformed.
    Read("shifted.csv", b"A,B\nLee, Ann,1\nBo,2\n", {2: ["Lee", "Ann"], 3: ["Bo", "2"]}, malformed=(2,)),
    # A row that ends before the last column.
    Read("short.csv", b"A,B,C\n1\n1,2,3\n", {2: ["1", "", ""], 3: ["1", "2", "3"]}, malformed=(2,)),
    # Old DOS programs end a file with Ctrl-Z.
    Read("dos.csv", b"A,B\n1,2\n\x1a", {2: ["1", "2"]}),
    # A database export in an old DOS encoding, which has to be named.
    Read(
        "dos850.csv", "A,B\nJürgen,2\n".encode("cp850"), {2: ["Jürgen", "2"]}, ListOptions(encoding="cp850")
    ),
    # Blanks before quotation marks.
    Read(
        "blanks.csv",
        b'"Name", "Phone"\n"Lee, Ann", "1"\n"Bo" , "2"\n',
        {2: ["Lee, Ann", "1"], 3: ["Bo", "2"]},
        headers=("Name", "Phone"),
    ),
    Read("blanks.txt", b'"Name"; "Phone"\nAnn;  "1"\n', {2: ["Ann", "1"]}, headers=("Name", "Phone")),
    # MySQL writes a backslash before a quotation mark.
    Read(
        "mysql.csv",
        b'A,B\n"Robert \\"Bob\\" Lee",1\n"5\\"",2\n"6\\"",3\n"C:\\",4\n"last \\"one\\"",5',
        {
            2: ['Robert "Bob" Lee', "1"],
            3: ['5"', "2"],
            4: ['6"', "3"],
            5: ["C:\\", "4"],
            6: ['last "one"', "5"],
        },
    ),
    Read("mysql.txt", b'A\tB\n"say \\"hi\\"\\"!"\t1\n', {2: ['say "hi""!', "1"]}),
    *(
        Refused(
            "mysql.csv",
            content,
            (
                (
                    "The quotation marks in row 2 do not match: a cell opens one and never closes it, so the rows "
                    'below would be lost. Fix the row (write a " inside a cell twice, and put one at each end of the '
                    "cell), or export the list again."
                ),
            ),
        )
        for content in (b'A,B\n"5\\"",2\n"6,3\n', b'A,B\n"say \\"hi\\"\n\\"you\\"",2\n')
    ),
    # Text written as a formula, which keeps Excel from changing it; also in the header.
    Read(
        "formula.csv",
        b'="Name",="Zip"\n="Ann",="02134"\n"=""Bo""",=""\n="say ""hi""",="O&#39;Brien"\n',
        {2: ["Ann", "02134"], 3: ["Bo", ""], 4: ['say "hi"', "O'Brien"]},
        headers=("Name", "Zip"),
    ),
    # Characters as web pages write them.
    Read(
        "entities.csv",
        b"A,B\nO&#39;Brien,AT&amp;T\nO&amp;#39;Brien,Jos&eacute;\n&quot;Bo&quot;,&nbsp;x&nbsp;\nAT&T;,R&D\n",
        {2: ["O'Brien", "AT&T"], 3: ["O'Brien", "José"], 4: ['"Bo"', "x"], 5: ["AT&T;", "R&D"]},
    ),
    # Ctrl-Z directly behind the last cell.
    Read("dos.csv", b"A,B\n1,2\n3,4\x1a", {2: ["1", "2"], 3: ["3", "4"]}),
    # A list from a Mac or a DOS program could be Windows-1252, with strange letters.
    *(
        Refused("mac.csv", content, (DOUBTFUL.format(line),))
        for content, line in (
            ("A,B\r1,2\rZoë,2\r".encode("mac_roman"), 3),
            ("A,B\n1,2\nJosé,2\n".encode("mac_roman"), 3),
            ("A,B\nPérez,2\n".encode("mac_roman"), 2),
            ("A,B\nJosé,2\n".encode("cp850"), 2),
            ("A,B\nMuñoz,2\n".encode("cp437"), 2),
        )
    ),
    Read("mac.csv", "A\rJosé\r".encode("mac_roman"), {2: ["José"]}, ListOptions(encoding="mac-roman")),
    # These are Windows-1252: curly quotes, dashes, the euro sign and Central European names.
    Read(
        "windows.csv",
        "A,B\nO’Brien,5 €–6\nŽižek Šimon,Œuvre naïve\nMÜLLER…,“Kia™”\n".encode("cp1252"),
        {2: ["O’Brien", "5 €–6"], 3: ["Žižek Šimon", "Œuvre naïve"], 4: ["MÜLLER…", "“Kia™”"]},
    ),
    # A results file is recognized by its header and read as the original list.
    Read(
        "results.csv",
        (",".join(RESULTS_HEADER) + "\n2,accepted,m,,,,Hi,c1,555,c1\n").encode(),
        {2: ["c1", "555"]},
        headers=("Customer ID", "Phone"),
    ),
    # An export with no customers, or one that failed.
    Refused("empty.csv", b"", EMPTY),
    # The same from a program that writes the UTF-8 mark before it looks for rows.
    Refused("bom.csv", b"\xef\xbb\xbf", EMPTY),
    # A report without customers still has its header.
    Refused("header.csv", b"Name,Phone\n", ONLY_HEADER),
    # A file in which an editor saved one line in another encoding.
    Refused(
        "mixed.csv",
        "A,B\nJosé,1\n".encode() + "Zoë,2\n".encode("cp1252"),
        (
            (
                "It is UTF-8 text, but line 3 has a byte that is not UTF-8. Fix that line, or save it again as "
                '"CSV UTF-8". If the whole file has another encoding, name it: encoding = "windows-1252" under '
                "[list_options]."
            ),
        ),
    ),
    # An unclosed quotation mark would swallow all rows below.
    Refused(
        "unclosed.csv",
        b'A,B\n"1,2\n3,4\n',
        (
            (
                "The quotation marks in row 2 do not match: a cell opens one and never closes it, so the rows below "
                'would be lost. Fix the row (write a " inside a cell twice, and put one at each end of the cell), or '
                "export the list again."
            ),
        ),
    ),
    # A crash during the export leaves NUL bytes.
    Refused(
        "nul.csv",
        b"A,B\n1,2\n" + bytes(200),
        (
            (
                "It has NUL bytes (the first in line 3), which text never has: it is damaged or not a list. "
                "Export it again."
            ),
        ),
    ),
    # Two columns with one name: either could be the phone.
    Refused(
        "twice.csv",
        b"Phone,Name,PHONE\n1,Ann,2\n",
        (
            (
                'Two headers mean the same column: "Phone" (column A) and "PHONE" (column C). '
                "Rename or delete all but one of them."
            ),
        ),
    ),
    # A column without a header has a value: the row may be shifted.
    Read("headless.csv", b"Name,,Phone\nAnn,x,1\nBo,,2\n", {2: ["Ann", "1"], 3: ["Bo", "2"]}, malformed=(2,)),
    # The index that pandas writes is a column without a header.
    Read(
        "index.csv",
        b",Name,Phone\n0,Ann,1\n1,Bo,2\n",
        {2: ["Ann", "1"], 3: ["Bo", "2"]},
        notes=("column A has no header and is left alone",),
    ),
    # A comma at the end of each row, but not of the header.
    Read("tails.csv", b"A,B\n1,2,\n3,4,\n", {2: ["1", "2"], 3: ["3", "4"]}),
    # The same, and a comma in a name: wider than the other rows.
    Read(
        "tails.csv",
        b"A,B,C\n1,2,,\n3,4, 5,,\n6,7,,\n",
        {2: ["1", "2", ""], 3: ["3", "4", "5"], 4: ["6", "7", ""]},
        malformed=(3,),
    ),
    # A comma in a name whose row ends in a blank cell.
    Read("blank.csv", b"A,B,C\n1,2,3\n4, 5,6,\n", {2: ["1", "2", "3"], 3: ["4", "5", "6"]}, malformed=(3,)),
    # Most rows have a comma in a name, but not all.
    Read(
        "most.csv",
        b"A;B;C\n1;2;\n4; 5;6;\n4; 5;6;\n4; 5;6;\n",
        {2: ["1", "2", ""], 3: ["4", "5", "6"], 4: ["4", "5", "6"], 5: ["4", "5", "6"]},
        malformed=(3, 4, 5),
    ),
    # Only the header ends in a comma: a row as wide as it is wider than the other rows.
    Read("head.csv", b"A,B,\n1,2\n3,4,\n", {2: ["1", "2"], 3: ["3", "4"]}, malformed=(3,)),
    # Lines that database programs write below a table.
    Read(
        "database.txt",
        b"Name\tPhone\nAnn\t1\n(1 row affected)\n-- end of report --\n",
        {2: ["Ann", "1"], 3: ["(1 row affected)", ""], 4: ["-- end of report --", ""]},
        malformed=(3, 4),
    ),
    # The header lacks the name of a column, or a title is above it.
    Refused(
        "short_header.csv",
        b"A,B\n1,2,3\n1,2,3\n1,2,\n",
        (
            (
                "Its header, row 1, has 2 names, but the rows have 3 cells, so it is unclear which name belongs to "
                "which cell. Give every column a header; delete a title above the header, or name the "
                "header's row with header_row under [list_options]; put quotation marks around cells "
                "that have the separator in them."
            ),
        ),
    ),
    Refused(
        "title.csv",
        b"Customers of May\nName,Phone\nAnn,1\n",
        (
            (
                "Its header, row 1, has 1 name, but the rows have 2 cells, so it is unclear which name belongs to "
                "which cell. Give every column a header; delete a title above the header, or name the "
                "header's row with header_row under [list_options]; put quotation marks around cells "
                "that have the separator in them."
            ),
        ),
    ),
    # A whole text file in one cell, which Excel would cut silently.
    Refused(
        "essay.csv",
        b"A,B\n1," + b"x" * 32_768 + b"\n",
        (
            (
                "Row 2 has a cell with more than 32,767 characters, which is too long for a spreadsheet. "
                "Fix that row, or export the list again."
            ),
        ),
    ),
    # A transposed table has a column for each customer.
    Refused(
        "sideways.csv",
        ",".join(f"c{i}" for i in range(1_001)).encode() + b"\n1\n",
        (
            (
                "Its header has 1,001 columns; at most 1,000 can be read. Delete the columns that the campaign does "
                "not need."
            ),
        ),
    ),
    # Several problems are reported together.
    Refused(
        "several.csv",
        b"Cell Phone,cell_phone\n1," + b"x" * 32_768 + b"\n",
        (
            (
                'Two headers mean the same column: "Cell Phone" (column A) and "cell_phone" (column B). Rename or '
                "delete all but one of them."
            ),
            (
                "Row 2 has a cell with more than 32,767 characters, which is too long for a spreadsheet. "
                "Fix that row, or export the list again."
            ),
        ),
    ),
    # An option that applies to the other kind of file.
    Refused(
        "list.csv",
        b"A,B\n1,2\n",
        ("It is a text file, which has no sheets. Remove `sheet` from [list_options].",),
        ListOptions(sheet="May"),
    ),
]
