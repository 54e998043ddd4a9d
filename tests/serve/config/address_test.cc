#include "serve/config/address.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace serve {
namespace {

using ::testing::HasSubstr;

TEST(AddressTest, ReadsHostAndPort) {
  EXPECT_EQ(*ParseListenAddress("http://0.0.0.0:8080", 80), (ListenAddress{"0.0.0.0", 8080}));
  EXPECT_EQ(*ParseListenAddress("HTTP://localhost:0/", 80), (ListenAddress{"localhost", 0}));
  EXPECT_EQ(*ParseListenAddress("http://[::1]:65535", 80), (ListenAddress{"::1", 65535}));
}

TEST(AddressTest, WithoutAPortTheListenersOwnCounts) {
  EXPECT_EQ(ParseListenAddress("http://10.0.0.1", 8081)->port, 8081);
  EXPECT_EQ(ParseListenAddress("http://[::]", 8081)->port, 8081);
}

TEST(AddressTest, RefusesWhatIsNoAddress) {
  for (const char* text : {"", "8080", "127.0.0.1:8080", "ftp://h:1", "http://", "http://:80",
                           "http://h:", "http://h:x", "http://h:65536", "http://h:-1", "http://h:80:90",
                           "http://h/path", "http://[::1", "http://a b", "http://[::1]80", "http://u@h:80"}) {
    const Result<ListenAddress> address = ParseListenAddress(text, 80);
    ASSERT_FALSE(address) << text;
    EXPECT_FALSE(address.error().message.empty()) << text;
  }
}

TEST(AddressTest, HttpsIsTlsWithPortsOfItsOwn) {
  EXPECT_EQ(*ParseListenAddress("https://127.0.0.1:8443", 80), (ListenAddress{"127.0.0.1", 8443, true}));
  EXPECT_EQ(*ParseListenAddress("HTTPS://host/", 8081, 8444), (ListenAddress{"host", 8444, true}));
  EXPECT_EQ(*ParseListenAddress("http://host", 8081, 8444), (ListenAddress{"host", 8081, false}));
}

TEST(AddressTest, SaysThatUnixSocketsAreNotServed) {
  EXPECT_FALSE(ParseListenAddress("unix:x.sock", 80));
  const ListenAddress path = *ParseListenAddress("unix:/run/x.sock", 80);
  EXPECT_EQ(AddressText(path), "unix:/run/x.sock");
  EXPECT_TRUE(IsLoopback(path));
  EXPECT_TRUE(SameListener(path, path));
  EXPECT_FALSE(Collide(path, *ParseListenAddress("unix:/run/y.sock", 80)));
}

TEST(AddressTest, KnowsLoopback) {
  EXPECT_TRUE(IsLoopback({"127.0.0.1", 1}));
  EXPECT_TRUE(IsLoopback({"127.9.9.9", 1}));
  EXPECT_TRUE(IsLoopback({"localhost", 1}));
  EXPECT_TRUE(IsLoopback({"::1", 1}));
  EXPECT_FALSE(IsLoopback({"0.0.0.0", 1}));
  EXPECT_FALSE(IsLoopback({"::", 1}));
  EXPECT_FALSE(IsLoopback({"10.127.0.1", 1}));
  EXPECT_FALSE(IsLoopback({"localhost.example.org", 1}));
  EXPECT_FALSE(IsLoopback({"127.example.org", 1}));
}

TEST(AddressTest, KnowsWhatCollides) {
  EXPECT_TRUE(Collide({"127.0.0.1", 80}, {"127.0.0.1", 80}));
  EXPECT_TRUE(Collide({"127.0.0.1", 80}, {"localhost", 80}));
  EXPECT_TRUE(Collide({"0.0.0.0", 80}, {"10.0.0.1", 80}));
  EXPECT_FALSE(Collide({"127.0.0.1", 80}, {"127.0.0.1", 81}));
  EXPECT_FALSE(Collide({"127.0.0.1", 80}, {"127.0.0.2", 80}));
  EXPECT_FALSE(Collide({"0.0.0.0", 0}, {"0.0.0.0", 0}));  // each gets a port of its own
}

TEST(AddressTest, OnlyExactlyTheSameAddressIsOneListener) {
  EXPECT_TRUE(SameListener({"127.0.0.1", 80}, {"localhost", 80}));
  EXPECT_FALSE(SameListener({"127.0.0.1", 80}, {"127.0.0.1", 80, true}));
  EXPECT_FALSE(SameListener({"127.0.0.1", 80}, {"0.0.0.0", 80}));
  EXPECT_FALSE(SameListener({"127.0.0.1", 0}, {"127.0.0.1", 0}));
}

TEST(AddressTest, TextIsReadBack) {
  for (const char* text : {"http://127.0.0.1:8080", "https://[::1]:8080"}) {
    EXPECT_EQ(AddressText(*ParseListenAddress(text, 80)), text);
  }
}

}  // namespace
}  // namespace serve
