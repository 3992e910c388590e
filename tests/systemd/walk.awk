# Takes the code blocks out of a document: one file each in the folder `into`, NN-HOW, where HOW is what the comment before a block
# says (`walk: skip`, `background`, `again`, `check`), else `once`. A block in another language than sh must say what it is for.
/^<!-- walk: [a-z]+ -->$/ { how = $3; next }
/^```/ && !inside {
    inside = 1
    language = substr($0, 4)
    if (how == "") how = language == "sh" ? "once" : "unknown"
    file = sprintf("%s/%02d-%s", into, ++number, how)
    printf "" > file
    next
}
/^```$/ { inside = 0; how = ""; close(file); next }
inside { print > file }
