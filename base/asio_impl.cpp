// Asio is compiled once, here (BOOST_ASIO_SEPARATE_COMPILATION): it saves an eighth to a fifth of every file that
// includes it.
#include <boost/asio/impl/src.hpp>
