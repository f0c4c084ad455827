# cmake -DIN=file -DOUT=file.cpp -DFUNCTION=danki::config::shipped_providers -P EmbedText.cmake: the file's text as a C++ function.
file(READ ${IN} TEXT)
string(REGEX REPLACE "::[^:]+$" "" NAMESPACE ${FUNCTION})
string(REGEX REPLACE "^.*::" "" NAME ${FUNCTION})
file(WRITE ${OUT} "#include <string_view>\nnamespace ${NAMESPACE} {\nstd::string_view ${NAME}();\n"
                  "std::string_view ${NAME}() {\n  return R\"====(${TEXT})====\";\n}\n}\n")
