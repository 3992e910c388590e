# Takes the code blocks out of a document: one file each in the folder `into`, NN-ROUTE-HOW, by what the comment before a block says
# (`walk: ROUTE HOW`, or one of the two). ROUTE is the way to install that the block belongs to (`package`, `archive`), else `every`; HOW is
# `skip`, `background`, `again` or `check`, else `once`. A block in another
# language than sh must say what it is for; a drawing (`text`) is skipped.
/^<!-- walk: [a-z ]+ -->$/ {
    for (field = 3; field < NF; field++)
        if ($field == "package" || $field == "archive") route = $field; else how = $field
    next
}
/^```/ && !inside {
    inside = 1
    language = substr($0, 4)
    if (how == "") how = language == "sh" ? "once" : language == "text" ? "skip" : "unknown"
    if (route == "") route = "every"
    file = sprintf("%s/%02d-%s-%s", into, ++number, route, how)
    printf "" > file
    next
}
/^```$/ { inside = 0; how = route = ""; close(file); next }
inside { print > file }
