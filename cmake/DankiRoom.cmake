# danki_room(NAME [DIR dir] DEPS targets...): one folder, one static library `danki_NAME`, alias danki::NAME.
# main.cpp of a program's room is left to danki_program. A folder without sources yet is an interface library.
function(danki_room NAME)
  cmake_parse_arguments(ROOM "" "DIR" "DEPS" ${ARGN})
  if(NOT ROOM_DIR)
    set(ROOM_DIR ${NAME})
  endif()
  file(GLOB SOURCES CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${ROOM_DIR}/*.cpp)
  list(FILTER SOURCES EXCLUDE REGEX "/main\\.cpp$")
  if(SOURCES)
    add_library(danki_${NAME} STATIC ${SOURCES})
    target_link_libraries(danki_${NAME} PUBLIC danki_flags ${ROOM_DEPS})
    target_include_directories(danki_${NAME} PUBLIC ${CMAKE_SOURCE_DIR})
  else()
    add_library(danki_${NAME} INTERFACE)
    target_link_libraries(danki_${NAME} INTERFACE danki_flags ${ROOM_DEPS})
    target_include_directories(danki_${NAME} INTERFACE ${CMAKE_SOURCE_DIR})
  endif()
  add_library(danki::${NAME} ALIAS danki_${NAME})
endfunction()

# danki_program(NAME SOURCE file DEPS targets...): one program in bin/.
function(danki_program NAME)
  cmake_parse_arguments(PROGRAM "" "SOURCE" "DEPS" ${ARGN})
  if(NOT EXISTS ${CMAKE_SOURCE_DIR}/${PROGRAM_SOURCE})
    return()
  endif()
  add_executable(${NAME} ${PROGRAM_SOURCE})
  target_link_libraries(${NAME} PRIVATE ${PROGRAM_DEPS})
endfunction()

# danki_test(NAME DEPS targets... [LABELS labels...]): tests/<folder>/*_test.cpp as one GoogleTest program, each case a CTest test.
function(danki_test NAME)
  cmake_parse_arguments(TEST "" "DIR" "DEPS;LABELS" ${ARGN})
  if(NOT TEST_DIR)
    set(TEST_DIR ${NAME})
  endif()
  if(NOT TEST_LABELS)
    set(TEST_LABELS unit)
  endif()
  file(GLOB SOURCES CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/${TEST_DIR}/*_test.cpp)
  if(NOT SOURCES)
    return()
  endif()
  add_executable(${NAME}_test ${SOURCES})
  target_link_libraries(${NAME}_test PRIVATE ${TEST_DEPS} GTest::gtest GTest::gmock GTest::gtest_main)
  target_compile_definitions(${NAME}_test PRIVATE DANKI_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                                                  DANKI_BIN_DIR="${CMAKE_BINARY_DIR}/bin")
  # One CTest entry a program, not a case: starting a process per case costs more than most cases.
  add_test(NAME ${NAME} COMMAND ${NAME}_test --gtest_brief=1)
  set_tests_properties(${NAME} PROPERTIES LABELS "${TEST_LABELS}" TIMEOUT 300)
endfunction()

# danki_embed(ROOM file FUNCTION name): the text of a file of the house as `std::string_view name()` in the room's library.
function(danki_embed ROOM FILE)
  cmake_parse_arguments(EMBED "" "FUNCTION" "" ${ARGN})
  string(MAKE_C_IDENTIFIER ${FILE} STEM)
  set(GENERATED ${CMAKE_BINARY_DIR}/generated/${STEM}.cpp)
  add_custom_command(OUTPUT ${GENERATED}
                     COMMAND ${CMAKE_COMMAND} -DIN=${CMAKE_SOURCE_DIR}/${FILE} -DOUT=${GENERATED}
                             -DFUNCTION=${EMBED_FUNCTION} -P ${CMAKE_SOURCE_DIR}/cmake/EmbedText.cmake
                     DEPENDS ${CMAKE_SOURCE_DIR}/${FILE} ${CMAKE_SOURCE_DIR}/cmake/EmbedText.cmake VERBATIM)
  target_sources(danki_${ROOM} PRIVATE ${GENERATED})
endfunction()
